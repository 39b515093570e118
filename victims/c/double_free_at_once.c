// A block is freed twice in a row by the thread that owns it.
// Promised: caught at the second call.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    free_twice(filled(24));
    return survived();
}
