// A block is freed twice, and the program leaves by _exit without any clean-up.
// Promised: caught.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    free_twice(filled(100));
    survived();
    _exit(7);
}
