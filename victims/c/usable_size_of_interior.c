// The program asks for the usable size of an address in the middle of a block.
// Promised: caught at the call; the answer is 0 and the block lives on.
#include "victim.h"

static NOINLINE size_t measure(void *order) {
    BUG(return malloc_usable_size(order));
    return 0;
}

int main(void) {
    char *order = filled(100);
    require(measure(order + 32) == 0, "the usable size of no block is 0");
    intact(order, 100, 0, "the block");
    free(order);
    return survived();
}
