// The program frees an address some gigabytes behind its blocks, in memory never handed out by anybody.
// Promised: caught (the address is in the heap's reservation or in nothing).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = filled(100);
    drop(hide((char *)hide(order) + ((size_t)5 << 30)));
    intact(order, 100, 0, "the block");
    free(order);
    return survived();
}
