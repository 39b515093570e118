// Between the two frees of a block its neighbours are freed and others of its size are handed out.
// Promised: caught, as the block itself was not handed out again (the program makes sure of that).
#include "victim.h"

enum { BLOCKS = 300, MIDDLE = 150, BYTES = 48 };

static NOINLINE void free_stale(void *order) {
    free(order);
}

int main(void) {
    static char *orders[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        orders[i] = filled(BYTES);
    char *stale = orders[MIDDLE];
    free(orders[MIDDLE - 1]);
    free(orders[MIDDLE + 1]);
    orders[MIDDLE - 1] = filled(BYTES);
    orders[MIDDLE + 1] = filled(BYTES);
    free(stale);
    for (int i = 0; i < 10; i++) {
        char *other = filled(BYTES);
        require(other != stale, "a block freed just now is not the next to be handed out");
    }
    BUG(free_stale(stale));
    for (int i = 0; i < BLOCKS; i++)
        if (i != MIDDLE)
            intact(orders[i], BYTES, 0, "a neighbour");
    return survived();
}
