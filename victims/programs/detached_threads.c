// Detached and cancelled threads, and threads that end by pthread_exit, keep their blocks usable by others.
#include "program.h"

static void *shared[256];
static atomic_int ended;

static void leave(void *block) {
    fill(block, 100, 8);
    free(block);
    atomic_fetch_add(&ended, 1);
}

static void *clerk(void *index) {
    long i = (intptr_t)index;
    shared[i] = malloc(500);
    fill(shared[i], 500, i);
    pthread_cleanup_push(leave, malloc(100));
    if (i % 2)
        pthread_exit(NULL);
    for (;;) {
        free(hide(malloc(64)));
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
    return NULL;
}

int main(void) {
    for (long i = 0; i < 256; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, clerk, (void *)i) == 0, "a thread");
        if (i % 2 == 0)
            pthread_cancel(thread);
        pthread_detach(thread);
        while (atomic_load(&ended) <= i)
            usleep(50);
    }
    for (long i = 0; i < 256; i++) {
        REQUIRE(shared[i] == NULL || holds(shared[i], 500, i), "a block of a thread that is gone");
        free(shared[i]);
    }
    return done();
}
