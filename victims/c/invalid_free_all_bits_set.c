// The program frees the address with all bits set, as mmap's MAP_FAILED.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    drop(hide(MAP_FAILED));
    return survived();
}
