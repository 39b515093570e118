// The program reallocates an address in the middle of a block to fewer bytes.
// Promised: caught (CWE-761).
#include "victim.h"

static NOINLINE void *shrink(void *o) {
    BUG(return realloc(o, 16));
    return memcpy(malloc(16), o, 16);
}

int main(void) {
    char *order = filled(5000);
    char *shrunk = hide(shrink(hide(order + 2000)));
    require(shrunk != NULL, "the program gets a block");
    require(memcmp(shrunk, order + 2000, 16) == 0, "contents are copied as far as the block is known");
    intact(order, 5000, 0, "the old block");
    free(shrunk);
    free(order);
    return survived();
}
