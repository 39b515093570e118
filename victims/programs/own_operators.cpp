// A program that defines operator new and operator delete, and nothing else of their kind, with a head before each block: all other forms
// come to these two, as the standard has it, and no block goes anywhere else.
#include "program.h"
#pragma GCC diagnostic ignored "-Wsized-deallocation"
#include <memory>
#include <new>
#include <string>
#include <vector>

static size_t made, given_back;

void *operator new(size_t bytes) {
    char *head = static_cast<char *>(malloc(bytes + 16));
    if (!head)
        throw std::bad_alloc();
    memcpy(head, "own head 16 byte", 16);
    made++;
    return head + 16;
}

void operator delete(void *block) noexcept {
    if (!block)
        return;
    char *head = static_cast<char *>(block) - 16;
    REQUIRE(memcmp(head, "own head 16 byte", 16) == 0, "a block that did not come from here");
    given_back++;
    free(head);
}

struct Order {
    virtual ~Order() = default;
    char text[40] = {};
};

int main() {
    for (int i = 0; i < 100; i++) {
        delete static_cast<Order *>(hide(new Order));
        delete[] static_cast<int *>(hide(new int[100]));
        delete static_cast<Order *>(hide(new (std::nothrow) Order));
        delete[] static_cast<char *>(hide(new (std::nothrow) char[10 + i]));
        std::vector<std::string> lines(10, std::string(50, 'x'));
        REQUIRE(lines.back().size() == 50, "a string");
        auto shared = std::make_shared<Order>();
        REQUIRE(shared->text[0] == 0, "an order");
    }
    REQUIRE(made >= 600 && made == given_back, "%zu made, %zu given back", made, given_back);
    return done();
}
