// The program frees an address in the middle of a block that is free.
// Promised: caught (CWE-761).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(1000);
    free(order);
    drop(hide(order + 160));
    return survived();
}
