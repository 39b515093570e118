// A freed block is given to reallocarray.
// Promised: caught at the call; the program gets a fresh block that it can use.
#include "victim.h"

static NOINLINE void *grow(void *order) {
    BUG(return reallocarray(order, 25, 8));
    return malloc(200);
}

int main(void) {
    void *order = filled(100);
    free(order);
    void *grown = hide(grow(order));
    require(grown != NULL, "the program gets a block");
    fill(grown, 200, 5);
    free(grown);
    return survived();
}
