// A thread forks while another one allocates without pause; the child frees a block twice.
// Promised: caught in the child, whose heap works though the other thread is not there.
#include "victim.h"
#include <stdatomic.h>

static atomic_int stop;

static void *busy(void *unused) {
    while (!atomic_load(&stop))
        free(hide(malloc(100)));
    return unused;
}

static NOINLINE void inherit(void *order) {
    free(order);
    BUG(free(order));
}

static void *forker(void *order) {
    pthread_setname_np(pthread_self(), "forker");
    pid_t child = fork();
    if (child == 0) {
        inherit(order);
        heap_is_sound();
        _exit(0);
    }
    ends_well(child);
    return NULL;
}

int main(void) {
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, busy, NULL);
    pthread_create(&threads[1], NULL, forker, filled(100));
    pthread_join(threads[1], NULL);
    atomic_store(&stop, 1);
    pthread_join(threads[0], NULL);
    return survived();
}
