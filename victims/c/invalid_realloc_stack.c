// The program reallocates a local variable.
// Promised: caught (CWE-590); the program gets a fresh block.
#include "victim.h"

static NOINLINE void *grow(void *o) {
    BUG(return realloc(o, 200));
    return malloc(200);
}

int main(void) {
    _Alignas(16) char order[64];
    fill(order, sizeof order, 0);
    void *grown = hide(grow(hide(order)));
    require(grown != NULL, "the program gets a block");
    fill(grown, 200, 5);
    intact(order, sizeof order, 0, "the local variable");
    free(grown);
    return survived();
}
