// The program frees the address of a local variable.
// Promised: caught (CWE-590); the variable keeps its value.
#include "victim.h"

static NOINLINE void drop(void *order) {
    BUG(free(order));
}

int main(void) {
    _Alignas(16) char order[64];
    fill(order, sizeof order, 0);
    drop(hide(order));
    intact(order, sizeof order, 0, "the local variable");
    return survived();
}
