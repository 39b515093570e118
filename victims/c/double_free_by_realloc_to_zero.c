// A freed block is given to realloc with size zero, which is a free.
// Promised: caught at the call.
#include "victim.h"

static NOINLINE void drop(void *order) {
    BUG(require(realloc(order, 0) == NULL, "realloc(p, 0) gives NULL"));
}

int main(void) {
    void *order = filled(100);
    free(order);
    drop(order);
    return survived();
}
