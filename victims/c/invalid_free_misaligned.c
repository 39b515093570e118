// The program frees an address one byte into a block.
// Promised: caught (CWE-761); the block lives on.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(100);
    drop(hide(order + 1));
    intact(order, 100, 0, "the block");
    free(order);
    return survived();
}
