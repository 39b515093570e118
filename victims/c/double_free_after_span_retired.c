// So many blocks are freed that their memory goes back to the system; then one of them is freed again.
// Promised: caught, though nothing is left there but the heap's own tables.
#include "victim.h"

enum { BLOCKS = 20000, BYTES = 4000 };

static NOINLINE void free_stale(void *order) {
    free(order);
}

int main(void) {
    static void *orders[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        orders[i] = filled(BYTES);
    for (int i = 0; i < BLOCKS; i++)
        free(orders[i]);
    malloc_trim(0);
    BUG(free_stale(orders[BLOCKS / 2]));
    return survived();
}
