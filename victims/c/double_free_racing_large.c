// Two threads free one block of 200,000 bytes at the same moment, 100 times.
// Promised: exactly one of the two is caught each time; its pages are given back once.
#include "victim.h"
#include <stdatomic.h>

enum { ROUNDS = 100, BYTES = 200000 };

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
        blocks_are_apart(BYTES, 4);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return survived();
}
