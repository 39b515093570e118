// Frees of what may not be freed: a block that is free already, an address that is no block or not its start.
//
//   double-free   HOW is what ends the block the second time
//   invalid-free  HOW is where the address lies; DISTANCE counts from the block's start (`interior`), its
//                 start backwards (`before`) or its end (`past-end`)
//
// The twin leaves out the bad call.
#include "known_bug.h"
#include <malloc.h>
#include <sys/mman.h>

static char static_data[256] = "not a block";

enum how { FREE, REALLOC, REALLOC_TO_ZERO, REALLOCARRAY, USABLE_SIZE };

struct call {
    enum how how;
    void *address;
    size_t bytes;
};

OPAQUE static void bug_site(const struct call *call) {
    switch (call->how) {
    case FREE: free(call->address); break;
    case REALLOC: sink = hide(realloc(call->address, call->bytes * 2)) != NULL; break;
    case REALLOC_TO_ZERO: sink = hide(realloc(call->address, 0)) != NULL; break;
    case REALLOCARRAY: sink = hide(reallocarray(call->address, 2, call->bytes)) != NULL; break;
    case USABLE_SIZE: sink = malloc_usable_size(call->address); break;
    }
    NOT_A_JUMP();
}

static void *thread_with_bug(void *call) {
    bug_site((const struct call *)call);
    return NULL;
}

static void make_call(const struct bug *bug, struct call what) {
    if (!bug->is_twin)
        call(thread_with_bug, &what, is(bug->life, "bug-elsewhere"));
}

// realloc ends the old block: its frame is as good as free's.
OPAQUE static char *free_site_in_realloc(char *block, size_t bytes) {
    char *moved = (char *)hide(realloc(block, bytes));
    NOT_A_JUMP();
    return moved;
}

static enum how how_of(const char *word) {
    if (is(word, "realloc"))
        return REALLOC;
    if (is(word, "realloc-to-zero"))
        return REALLOC_TO_ZERO;
    if (is(word, "reallocarray"))
        return REALLOCARRAY;
    return is(word, "usable-size") ? USABLE_SIZE : FREE;
}

static void double_free(const struct bug *bug) {
    char *block = (char *)alloc_site(bug->bytes);
    char *moved = NULL;
    if (is(bug->how, "free-after-realloc")) {
        // Whoever grows blocks in place finds this one in the way.
        void *neighbour = hide(malloc(bug->bytes));
        moved = free_site_in_realloc(block, bug->bytes * 3 + 100);
        free(neighbour);
        if (moved == block)
            refuse("realloc did not move the block", CANNOT_BE_MADE);
    } else if (is(bug->how, "free-after-realloc-to-zero")) {
        moved = free_site_in_realloc(block, 0);
    } else {
        call(thread_that_frees, block, is(bug->life, "free-elsewhere"));
    }
    if (is(bug->life, "churn"))
        churn(bug->bytes);
    make_call(bug, (struct call){how_of(bug->how), block, bug->bytes});
    free(moved);
}

// An address of the kind that HOW names.
static char *bad_address(const struct bug *bug, char *block, char *on_stack) {
    static char literal[] = "a literal of more than sixteen bytes";
    const char *how = bug->how;
    if (is(how, "stack") || is(how, "realloc-of-stack"))
        return on_stack;
    if (is(how, "static") || is(how, "realloc-of-static"))
        return static_data;
    if (is(how, "static-initialised"))
        return literal;
    if (is(how, "code"))
        return (char *)&bad_address;
    if (is(how, "environment"))
        return getenv("PATH");
    if (is(how, "mapped"))
        return (char *)mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (is(how, "small-number"))
        return (char *)hide((void *)(uintptr_t)bug->distance);
    if (is(how, "before"))
        return block - bug->distance;
    if (is(how, "past-end"))
        return block + bug->bytes + bug->distance;
    return block + bug->distance;
}

static void invalid_free(const struct bug *bug) {
    char on_stack[256] __attribute__((aligned(16))) = "not a block";
    char *block = (char *)alloc_site(bug->bytes);
    char *address = (char *)hide(bad_address(bug, block, (char *)hide(on_stack)));
    enum how how = strncmp(bug->how, "realloc", 7) == 0 ? REALLOC : FREE;
    make_call(bug, (struct call){how, address, bug->bytes});
    free_site(block);
}

int main(int count, char **words) {
    struct bug bug = arguments(count, words);
    if (is(bug.class_name, "double-free"))
        double_free(&bug);
    else if (is(bug.class_name, "invalid-free"))
        invalid_free(&bug);
    else
        refuse("no such class", BAD_ARGUMENTS);
    return 0;
}
