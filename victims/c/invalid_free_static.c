// The program frees the address of a variable with static storage.
// Promised: caught (CWE-590); the variable keeps its value.
#include "victim.h"

static _Alignas(16) char order[64] = "an order";

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    fill(order, sizeof order, 0);
    drop(hide(order));
    intact(order, sizeof order, 0, "the static variable");
    return survived();
}
