// Bugs by way of the standard library's containers and owners. HOW is one of the structures below; each has
// an alloc_site, perhaps a free_site, and a bug_site, which the twin leaves out.
#include "known_bug.h"
#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

// Every structure's size is that of the block which the bug is about.
struct Bytes {
    size_t bytes;
};

#define SITE(name) OPAQUE void name()

template <bool WRITE> static inline void touch(char *at) {
    if (WRITE)
        *static_cast<volatile char *>(at) = 'b';
    else
        sink = *static_cast<volatile char *>(at);
}

template <bool WRITE> struct IteratorAfterGrowth : Bytes {
    std::vector<char> items;
    std::vector<char>::iterator first;
    SITE(alloc_site) { items.assign(bytes, 'a'); items.shrink_to_fit(); first = items.begin(); }
    SITE(free_site) { items.resize(items.capacity() + 1); }
    SITE(bug_site) { touch<WRITE>(&*first); }
};

template <bool WRITE> struct ReferenceAfterShrink : Bytes {
    std::vector<char> items;
    char *last;
    SITE(alloc_site) { items.assign(bytes, 'a'); last = &items.back(); }
    SITE(free_site) { std::vector<char>().swap(items); }
    SITE(bug_site) { touch<WRITE>(last); }
};

template <bool WRITE> struct IndexPastVector : Bytes {
    std::vector<char> items;
    SITE(alloc_site) { items.reserve(bytes); items.assign(bytes, 'a'); }
    SITE(free_site) {}
    SITE(bug_site) { touch<WRITE>(&items[0] + items.capacity() + 15); }
};

struct CopyPastVector : Bytes {
    std::vector<char> items, longer;
    SITE(alloc_site) { items.reserve(bytes); items.assign(bytes, 'a'); }
    SITE(free_site) { longer.assign(bytes + 16, 'c'); }
    SITE(bug_site) { std::copy(longer.begin(), longer.end(), items.begin()); NOT_A_JUMP(); }
};

template <bool WRITE> struct IndexPastString : Bytes {
    std::string text;
    SITE(alloc_site) { text.assign(std::max<size_t>(bytes, 24), 'a'); }
    SITE(free_site) {}
    SITE(bug_site) { touch<WRITE>(&text[0] + text.capacity() + 16); }
};

template <bool WRITE> struct IndexPastArray : Bytes {
    char *items;
    SITE(alloc_site) { items = static_cast<char *>(hide(new char[bytes]())); }
    SITE(free_site) {}
    SITE(bug_site) { touch<WRITE>(items + bytes + 15); }
    ~IndexPastArray() { delete[] items; }
};

template <bool WRITE> struct TextAfterGrowth : Bytes {
    std::string text;
    char *old;
    SITE(alloc_site) { text.assign(std::max<size_t>(bytes, 24), 'a'); old = &text[0]; }
    SITE(free_site) { text.append(text.capacity() + 1, 'b'); }
    SITE(bug_site) { touch<WRITE>(old); }
};

struct ViewOfTemporary : Bytes {
    std::string_view view;
    std::string *text;
    SITE(alloc_site) { text = new std::string(std::max<size_t>(bytes, 24), 'a'); view = *text; }
    SITE(free_site) { delete text; }
    SITE(bug_site) { touch<false>(const_cast<char *>(view.data())); }
};

template <bool WRITE> struct MapValueAfterErase : Bytes {
    std::map<int, char> items;
    char *value;
    SITE(alloc_site) { value = &items[1]; }
    SITE(free_site) { items.erase(1); }
    SITE(bug_site) { touch<WRITE>(value); }
};

struct HashMapValueAfterErase : Bytes {
    std::unordered_map<std::string, std::string> items;
    std::string *value;
    SITE(alloc_site) { value = &items["key"]; }
    SITE(free_site) { items.clear(); }
    SITE(bug_site) { sink = value->size(); }
};

struct ListIteratorAfterErase : Bytes {
    std::list<long> items;
    std::list<long>::iterator first;
    SITE(alloc_site) { items.assign(3, 7); first = items.begin(); }
    SITE(free_site) { items.erase(first); }
    SITE(bug_site) { sink = *first; }
};

template <bool WRITE> struct PointerAfterReset : Bytes {
    std::unique_ptr<char[]> owner;
    char *borrowed;
    SITE(alloc_site) { owner.reset(new char[bytes]()); borrowed = owner.get(); }
    SITE(free_site) { owner.reset(); }
    SITE(bug_site) { touch<WRITE>(borrowed); }
};

struct SharedPointerAfterLast : Bytes {
    std::shared_ptr<long> owner;
    long *borrowed;
    SITE(alloc_site) { owner = std::make_shared<long>(5); borrowed = owner.get(); }
    SITE(free_site) { owner.reset(); }
    SITE(bug_site) { sink = *borrowed; }
};

struct Shape {
    virtual ~Shape() {}
    virtual int corners() const { return 0; }
};

struct VirtualCallAfterDelete : Bytes {
    Shape *shape;
    SITE(alloc_site) { shape = static_cast<Shape *>(hide(new Shape)); }
    SITE(free_site) { delete shape; }
    SITE(bug_site) { sink = static_cast<Shape *>(hide(shape))->corners(); }
};

struct TwoOwners : Bytes {
    char *block;
    SITE(alloc_site) { block = static_cast<char *>(hide(new char[bytes]())); }
    SITE(free_site) { std::unique_ptr<char[]> first(block); }
    SITE(bug_site) { std::unique_ptr<char[]> second(static_cast<char *>(hide(block))); }
};

struct DestroyedTwice : Bytes {
    alignas(std::string) char place[sizeof(std::string)];
    SITE(alloc_site) { new (place) std::string(std::max<size_t>(bytes, 24), 'a'); }
    SITE(free_site) { reinterpret_cast<std::string *>(hide(place))->~basic_string(); }
    SITE(bug_site) { reinterpret_cast<std::string *>(hide(place))->~basic_string(); }
};

template <class Sites> static void *thread_with_bug(void *sites) {
    static_cast<Sites *>(sites)->bug_site();
    return nullptr;
}

template <class Sites> static void run(const bug &bug) {
    auto sites = new Sites();
    sites->bytes = bug.bytes;
    sites->alloc_site();
    sites->free_site();
    if (is(bug.life, "churn"))
        churn(bug.bytes);
    if (!bug.is_twin)
        call(thread_with_bug<Sites>, sites, is(bug.life, "bug-elsewhere"));
    delete sites;
}

static const struct {
    const char *name;
    void (*run)(const bug &);
} hows[] = {
    {"iterator-after-growth-read", run<IteratorAfterGrowth<false>>},
    {"iterator-after-growth-write", run<IteratorAfterGrowth<true>>},
    {"reference-after-shrink-read", run<ReferenceAfterShrink<false>>},
    {"reference-after-shrink-write", run<ReferenceAfterShrink<true>>},
    {"index-past-vector-read", run<IndexPastVector<false>>},
    {"index-past-vector-write", run<IndexPastVector<true>>},
    {"copy-past-vector", run<CopyPastVector>},
    {"index-past-string-read", run<IndexPastString<false>>},
    {"index-past-string-write", run<IndexPastString<true>>},
    {"index-past-array-read", run<IndexPastArray<false>>},
    {"index-past-array-write", run<IndexPastArray<true>>},
    {"text-after-growth-read", run<TextAfterGrowth<false>>},
    {"text-after-growth-write", run<TextAfterGrowth<true>>},
    {"view-of-temporary", run<ViewOfTemporary>},
    {"map-value-after-erase-read", run<MapValueAfterErase<false>>},
    {"map-value-after-erase-write", run<MapValueAfterErase<true>>},
    {"hash-map-value-after-erase", run<HashMapValueAfterErase>},
    {"list-iterator-after-erase", run<ListIteratorAfterErase>},
    {"pointer-after-reset-read", run<PointerAfterReset<false>>},
    {"pointer-after-reset-write", run<PointerAfterReset<true>>},
    {"shared-pointer-after-last", run<SharedPointerAfterLast>},
    {"virtual-call-after-delete", run<VirtualCallAfterDelete>},
    {"two-owners", run<TwoOwners>},
    {"destroyed-twice", run<DestroyedTwice>},
};

int main(int count, char **words) {
    bug bug = arguments(count, words);
    for (const auto &how : hows) {
        if (is(how.name, bug.how)) {
            how.run(bug);
            return 0;
        }
    }
    refuse("no such way", BAD_ARGUMENTS);
}
