// The program frees a small number that got into a pointer.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    drop(hide((void *)(uintptr_t)48));
    return survived();
}
