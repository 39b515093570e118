// The program frees the address of a large static variable without a value (.bss).
// Promised: caught (CWE-590).
#include "victim.h"

static _Alignas(16) char order[1 << 20];

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    fill(order, sizeof order, 0);
    drop(hide(order + (1 << 19)));
    intact(order, sizeof order, 0, "the static variable");
    return survived();
}
