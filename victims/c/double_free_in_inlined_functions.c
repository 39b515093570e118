// The second free stands in functions that the compiler has inlined into main.
// Promised: caught, and the inlined functions are named as if they were calls.
#include "victim.h"

INLINE void release_order(void *order) {
    BUG(free(order));
}

INLINE void close_book(void *order) {
    free(order);
    release_order(order);
}

int main(void) {
    close_book(filled(100));
    return survived();
}
