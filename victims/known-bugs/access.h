// Bad accesses: which bytes are touched, and when. The program that includes this says in what ways a range
// can be touched (`accesses`) and does it in its bug_site(); here are the classes of bug and the order of
// events.
//
//   overrun         the last byte touched lies DISTANCE bytes past the end
//   underrun        the first byte touched lies DISTANCE bytes before the start
//   use-after-free  touches the block, from byte DISTANCE on, after it was freed
//   stale-pointer   the same, after realloc has moved it
//
// An access of a fixed width touches that many bytes; every other one the whole range from the block to
// there. The twin does the very same access to a block that is larger, or still there.
#ifndef ACCESS_H
#define ACCESS_H
#include "known_bug.h"

struct access {
    const char *name;
    // 0: any number of bytes.
    size_t width;
    // What bug_site() tells them apart by.
    int number;
};

struct range {
    const struct access *access;
    char *at;
    size_t bytes;
};

static void bug_site(const struct range *range);
// What the access needs besides, while the block is still sound.
static void prepare(const struct range *range);
static const struct access accesses[];

static void *thread_with_bug(void *range) {
    bug_site((const struct range *)range);
    return NULL;
}

static const struct access *access_named(const char *name) {
    const struct access *access = accesses;
    while (access->name != NULL && !is(access->name, name))
        access++;
    if (access->name == NULL)
        refuse("no such access", BAD_ARGUMENTS);
    return access;
}

// So that what reads text ends there.
static void end_text(char *block, size_t bytes) {
    size_t wide = sizeof(wchar_t) < bytes ? sizeof(wchar_t) : bytes;
    memset(block + bytes - wide, 0, wide);
}

static void make_access(const struct bug *bug, const struct range *range) {
    call(thread_with_bug, (void *)range, is(bug->life, "bug-elsewhere"));
}

static void end_block(const struct bug *bug, void *block) {
    if (!is(bug->life, "never-freed"))
        call(thread_that_frees, block, is(bug->life, "free-elsewhere"));
}

static void overrun(const struct bug *bug, const struct access *access) {
    char *block = (char *)alloc_site(bug->is_twin ? bug->bytes + bug->distance : bug->bytes);
    size_t end = bug->bytes + bug->distance;
    if (bug->is_twin)
        end_text(block, end);
    size_t bytes = access->width != 0 ? access->width : end;
    if (bytes > end)
        refuse("wider than block and distance", BAD_ARGUMENTS);
    struct range range = {access, block + end - bytes, bytes};
    prepare(&range);
    make_access(bug, &range);
    end_block(bug, block);
}

static void underrun(const struct bug *bug, const struct access *access) {
    char *base = (char *)alloc_site(bug->is_twin ? bug->bytes + bug->distance : bug->bytes);
    char *block = bug->is_twin ? base + bug->distance : base;
    end_text(block, bug->bytes);
    size_t bytes = access->width != 0 ? access->width : bug->distance + bug->bytes;
    struct range range = {access, block - bug->distance, bytes};
    prepare(&range);
    make_access(bug, &range);
    end_block(bug, base);
}

static void use_after_free(const struct bug *bug, const struct access *access) {
    char *block = (char *)alloc_site(bug->bytes);
    end_text(block, bug->bytes);
    size_t bytes = access->width != 0 ? access->width : bug->bytes - bug->distance;
    struct range range = {access, block + bug->distance, bytes};
    prepare(&range);
    if (bug->is_twin)
        make_access(bug, &range);
    end_block(bug, block);
    if (is(bug->life, "churn"))
        churn(bug->bytes);
    if (!bug->is_twin)
        make_access(bug, &range);
}

// realloc ends the old block: its frame is as good as free's.
static OPAQUE char *free_site_in_realloc(char *block, size_t bytes) {
    char *moved = (char *)hide(realloc(block, bytes));
    if (moved == NULL)
        refuse("no memory", CANNOT_BE_MADE);
    return moved;
}

static void stale_pointer(const struct bug *bug, const struct access *access) {
    char *block = (char *)alloc_site(bug->bytes);
    end_text(block, bug->bytes);
    // Whoever grows blocks in place finds this one in the way.
    void *neighbour = hide(malloc(bug->bytes));
    size_t bytes = access->width != 0 ? access->width : bug->bytes - bug->distance;
    struct range range = {access, block + bug->distance, bytes};
    prepare(&range);
    char *moved = free_site_in_realloc(block, bug->bytes * 3 + 100);
    if (moved == block)
        refuse("realloc did not move the block", CANNOT_BE_MADE);
    if (is(bug->life, "churn"))
        churn(bug->bytes);
    if (bug->is_twin)
        range.at = moved + bug->distance;
    make_access(bug, &range);
    free(neighbour);
    free_site(moved);
}

int main(int count, char **words) {
    struct bug bug = arguments(count, words);
    const struct access *access = access_named(bug.how);
    if (is(bug.class_name, "overrun"))
        overrun(&bug, access);
    else if (is(bug.class_name, "underrun"))
        underrun(&bug, access);
    else if (is(bug.class_name, "use-after-free"))
        use_after_free(&bug, access);
    else if (is(bug.class_name, "stale-pointer"))
        stale_pointer(&bug, access);
    else
        refuse("no such class", BAD_ARGUMENTS);
    return 0;
}
#endif
