// The owner and another thread free one block at the same moment, 200 times.
// Promised: one of the two is caught each time, at the latest when the owner next looks at the block,
// before it is handed out; so either at the call or later, on the owner's stack ("seen later").
#include "victim.h"
#include <stdatomic.h>

enum { ROUNDS = 200, BYTES = 64 };

static void *order;
static atomic_int round_now, done;

static NOINLINE void settle(void *o) {
    free(o);
}

static void *settler(void *unused) {
    for (int round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&round_now) < round)
            ;
        BUG(settle(order));
        atomic_store(&done, round);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, settler, NULL);
    for (int round = 1; round <= ROUNDS; round++) {
        order = filled(BYTES);
        atomic_store(&round_now, round);
        settle(order);
        while (atomic_load(&done) < round)
            ;
        blocks_are_apart(BYTES, 5000);
    }
    pthread_join(thread, NULL);
    return survived();
}
