// The program reallocates an address in the middle of a block.
// Promised: caught (CWE-761); the program gets a fresh block with what stood from there on, and the old
// block lives on.
#include "victim.h"

static NOINLINE void *grow(void *o) {
    BUG(return realloc(o, 200));
    return memcpy(malloc(200), o, 68);
}

int main(void) {
    char *order = filled(100);
    char *grown = hide(grow(hide(order + 32)));
    require(grown != NULL, "the program gets a block");
    require(memcmp(grown, order + 32, 68) == 0, "contents are copied as far as the block is known");
    fill(grown, 200, 5);
    intact(order, 100, 0, "the old block");
    free(grown);
    free(order);
    return survived();
}
