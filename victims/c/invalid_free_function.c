// The program frees the address of a function.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    drop(hide((void *)(uintptr_t)survived));
    return survived();
}
