// A block is freed, and again by a handler that runs at exit.
// Promised: caught at the second call.
#include "victim.h"

static void *order;

static NOINLINE void close_book(void) {
    BUG(free(order));
    survived();
}

int main(void) {
    order = filled(100);
    atexit(close_book);
    free(order);
    return 0;
}
