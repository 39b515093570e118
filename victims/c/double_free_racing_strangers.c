// Two threads free one block at the same moment, 200 times; neither is its owner.
// Promised: exactly one of the two is caught each time, and no block is ever handed out twice.
#include "victim.h"
#include <stdatomic.h>

enum { ROUNDS = 200, BYTES = 64 };

static void *order;
static atomic_int round_now, done;

static NOINLINE void settle(void *o) {
    free(o);
}

static void *settler(void *is_second) {
    for (int round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&round_now) < round)
            ;
        if (is_second)
            BUG(settle(order));
        else
            settle(order);
        atomic_fetch_add(&done, 1);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, settler, i ? &order : NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        order = filled(BYTES);
        atomic_store(&round_now, round);
        while (atomic_load(&done) < 2 * round)
            ;
        blocks_are_apart(BYTES, 100);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return survived();
}
