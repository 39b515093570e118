// The program asks for the usable size of a freed block.
// Promised: caught at the call (CWE-416); the answer is 0.
#include "victim.h"

static NOINLINE size_t measure(void *order) {
    BUG(return malloc_usable_size(order));
    return 0;
}

int main(void) {
    void *order = filled(100);
    free(order);
    require(measure(order) == 0, "the usable size of a freed block is 0");
    return survived();
}
