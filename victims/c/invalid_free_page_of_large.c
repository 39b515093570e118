// The program frees the address 64 KiB into a block of 1 MiB: the start of a slice, but of no block.
// Promised: caught (CWE-761); the block lives on.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(1 << 20);
    uintptr_t next_slice = ((uintptr_t)order + 65536) & ~(uintptr_t)65535;
    drop(hide((void *)next_slice));
    intact(order, 1 << 20, 0, "the block");
    free(order);
    return survived();
}
