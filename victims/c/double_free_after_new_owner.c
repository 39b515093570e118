// NOT promised in manual mode: a second free of a block that has been handed out to a new owner.
// To the heap the stale free looks like the new owner's. What is seen is the new owner's own free, now the
// second one: a finding that blames the victim. (Here nobody allocates in between, so it is sure to come.)
#include "victim.h"

static NOINLINE void free_stale(void *order) {
    free(order);
}

static NOINLINE void free_as_new_owner(void *order) {
    free(order);
}

int main(void) {
    uintptr_t stale = (uintptr_t)filled(48);
    free((void *)stale);
    static void *others[2000000];
    size_t count = 0;
    do
        others[count] = hide(malloc(48));
    while ((uintptr_t)others[count++] != stale && count < 2000000);
    require((uintptr_t)others[count - 1] == stale, "a freed block is handed out again in the end");
    BUG(free_stale((void *)stale));
    free_as_new_owner(others[count - 1]);
    for (size_t i = 0; i + 1 < count; i++)
        free(others[i]);
    return survived();
}
