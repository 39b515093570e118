// The program frees the next block after its own, which nobody ever allocated.
// Promised: caught: a block that is not allocated is freed.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(700);
    drop(hide(order + malloc_usable_size(order)));
    blocks_are_apart(700, 200);
    intact(order, 700, 0, "the block");
    free(order);
    return survived();
}
