// A freed block is reallocated.
// Promised: caught at the call; the program gets a fresh block that it can use.
#include "victim.h"

static NOINLINE void *grow(void *order) {
    BUG(return realloc(order, 200));
    return malloc(200);
}

int main(void) {
    void *order = filled(100);
    free(order);
    void *grown = hide(grow(order));
    require(grown != NULL, "the program gets a block");
    fill(grown, 200, 5);
    blocks_are_apart(100, 200);
    intact(grown, 200, 5, "the block that realloc gave");
    free(grown);
    return survived();
}
