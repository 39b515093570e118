// The second free stands 500 calls deep.
// Promised: caught; the innermost 128 frames are kept, and the report says that it was cut.
#include "victim.h"

static NOINLINE void descend(void *order, int depth) {
    if (depth > 0)
        descend(order, depth - 1);
    else
        BUG(free(order));
    hide(order);
}

int main(void) {
    void *order = filled(100);
    free(order);
    descend(order, 500);
    return survived();
}
