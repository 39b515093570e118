// Blocks that are given back to another family of functions than they came from, or with another size or
// alignment than they were asked for.
//
//   mismatch      HOW is ALLOCATE/FREE, two words of the tables below; the twin frees as belongs to it
//   wrong-layout  HOW is a sized or aligned delete that is told DISTANCE bytes too many, or twice the
//                 alignment
#include "known_bug.h"
#include <malloc.h>
#include <new>

static const std::align_val_t ALIGNMENT{64};

// What ends a block that belongs to the family.
struct Allocation {
    const char *name, *belongs_to;
};

static const Allocation allocations[] = {
    {"malloc", "free"},       {"calloc", "free"},         {"strdup", "free"},
    {"memalign", "free"},     {"new", "delete"},          {"array-new", "array-delete"},
    {"nothrow-new", "delete"},
    {"aligned-new", "aligned-delete"},
    {"aligned-array-new", "aligned-array-delete"},
};

OPAQUE static void *alloc_site(const char *how, size_t bytes) {
    void *block = nullptr;
    if (is(how, "malloc"))
        block = malloc(bytes);
    else if (is(how, "calloc"))
        block = calloc(1, bytes);
    else if (is(how, "strdup"))
        block = strdup("text of fifteen");
    else if (is(how, "memalign"))
        block = memalign(64, bytes);
    else if (is(how, "new"))
        block = operator new(bytes);
    else if (is(how, "array-new"))
        block = operator new[](bytes);
    else if (is(how, "nothrow-new"))
        block = operator new(bytes, std::nothrow);
    else if (is(how, "aligned-new"))
        block = operator new(bytes, ALIGNMENT);
    else if (is(how, "aligned-array-new"))
        block = operator new[](bytes, ALIGNMENT);
    else
        refuse("no such allocation", BAD_ARGUMENTS);
    return hide(block);
}

OPAQUE static void bug_site(const char *how, void *block, size_t bytes, std::align_val_t alignment) {
    if (is(how, "free"))
        free(block);
    else if (is(how, "realloc"))
        free(hide(realloc(block, bytes * 2)));
    else if (is(how, "delete"))
        operator delete(block);
    else if (is(how, "array-delete"))
        operator delete[](block);
    else if (is(how, "sized-delete"))
        operator delete(block, bytes);
    else if (is(how, "sized-array-delete"))
        operator delete[](block, bytes);
    else if (is(how, "aligned-delete"))
        operator delete(block, alignment);
    else if (is(how, "aligned-array-delete"))
        operator delete[](block, alignment);
    else if (is(how, "sized-aligned-delete"))
        operator delete(block, bytes, alignment);
    else
        refuse("no such deallocation", BAD_ARGUMENTS);
    NOT_A_JUMP();
}

struct Ending {
    const char *how;
    void *block;
    size_t bytes;
    std::align_val_t alignment;
};

static void *thread_with_bug(void *argument) {
    auto ending = static_cast<Ending *>(argument);
    bug_site(ending->how, ending->block, ending->bytes, ending->alignment);
    return nullptr;
}

static void mismatch(const bug &bug) {
    char allocate[64] = "";
    const char *slash = strchr(bug.how, '/');
    if (slash == nullptr || slash - bug.how >= 64)
        refuse("HOW is ALLOCATE/FREE", BAD_ARGUMENTS);
    memcpy(allocate, bug.how, slash - bug.how);
    Ending ending{slash + 1, alloc_site(allocate, bug.bytes), bug.bytes, ALIGNMENT};
    for (const Allocation &allocation : allocations)
        if (bug.is_twin && is(allocation.name, allocate))
            ending.how = allocation.belongs_to;
    call(thread_with_bug, &ending, is(bug.life, "bug-elsewhere"));
}

static void wrong_layout(const bug &bug) {
    bool aligned = strstr(bug.how, "aligned") != nullptr;
    bool array = strstr(bug.how, "array") != nullptr;
    bool sized = strstr(bug.how, "sized") != nullptr;
    const char *allocate = array ? "array-new" : "new";
    if (aligned)
        allocate = array ? "aligned-array-new" : "aligned-new";
    Ending ending{bug.how, alloc_site(allocate, bug.bytes), bug.bytes, ALIGNMENT};
    if (!bug.is_twin && sized)
        ending.bytes += bug.distance;
    else if (!bug.is_twin)
        ending.alignment = std::align_val_t{128};
    call(thread_with_bug, &ending, is(bug.life, "bug-elsewhere"));
}

int main(int count, char **words) {
    bug bug = arguments(count, words);
    if (is(bug.class_name, "mismatch"))
        mismatch(bug);
    else if (is(bug.class_name, "wrong-layout"))
        wrong_layout(bug);
    else
        refuse("no such class", BAD_ARGUMENTS);
    return 0;
}
