// The program frees a string literal.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(const char *name) {
    BUG(free((void *)name));
}

int main(void) {
    drop(hide((void *)"the name of an order"));
    return survived();
}
