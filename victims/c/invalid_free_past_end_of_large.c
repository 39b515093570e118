// The program frees an address just behind a block of 1 MiB.
// Promised: caught: 24 bytes behind the end no block can begin (CWE-761 inside another block, else 590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(1 << 20);
    drop(hide(order + malloc_usable_size(order) + 24));
    intact(order, 1 << 20, 0, "the block");
    free(order);
    return survived();
}
