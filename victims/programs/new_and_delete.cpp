// operator new and delete in all their forms.
#include "program.h"
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct alignas(256) Wide {
    char bytes[300];
};

int main() {
    try {
        void *block = ::operator new(static_cast<size_t>(-1) / 2 + 5);
        REQUIRE(block == nullptr, "a request that cannot be met");
    } catch (const std::bad_alloc &) {
        errno = 0;
    }
    REQUIRE(new (std::nothrow) char[static_cast<size_t>(PTRDIFF_MAX) - 100] == nullptr, "nothrow gives null");
    for (int i = 0; i < 1000; i++) {
        auto *wide = new Wide;
        REQUIRE((reinterpret_cast<uintptr_t>(wide) & 255) == 0, "aligned new");
        delete wide;
        auto *many = new Wide[3];
        REQUIRE((reinterpret_cast<uintptr_t>(many) & 255) == 0, "aligned new[]");
        delete[] many;
        delete new std::string(i, 'x');
        delete[] new std::string[i % 17];
        auto *raw = static_cast<char *>(::operator new(i, std::nothrow));
        ::operator delete(raw, std::nothrow);
        raw = static_cast<char *>(::operator new(i));
        ::operator delete(raw, static_cast<size_t>(i));
    }
    std::unordered_map<int, std::shared_ptr<std::vector<std::string>>> map;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&map] {
            std::unordered_map<int, std::string> own;
            for (int i = 0; i < 20000; i++)
                own[i % 1000] += "some text that does not fit in place";
            REQUIRE(own.size() == 1000, "a map");
            (void)map;
        });
    for (int i = 0; i < 50000; i++)
        map[i % 5000] = std::make_shared<std::vector<std::string>>(3, std::to_string(i));
    for (auto &thread : threads)
        thread.join();
    REQUIRE(map.size() == 5000 && (*map[4999])[2] == "49999", "the map's contents");
    return done();
}
