// A thread allocates and frees one small block over and over, while another frees all that the first had allocated before: that
// memory goes back to the system all the same.
#include "program.h"

enum { COUNT = 100000, BYTES = 1000 };
static void *blocks[COUNT];
static atomic_int freed;

static void *free_all(void *unused) {
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    freed = 1;
    return unused;
}

int main(void) {
    pthread_t thread;
    size_t base = resident_bytes();
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(BYTES);
        memset(blocks[i], 1, BYTES);
    }
    size_t peak = resident_bytes() - base;
    pthread_create(&thread, NULL, free_all, NULL);
    double end = seconds_now() + 2.5;
    while (!freed || seconds_now() < end)
        for (int i = 0; i < 1000; i++)
            free(hide(malloc(64)));
    pthread_join(thread, NULL);
    size_t after = resident_bytes() > base ? resident_bytes() - base : 0;
    REQUIRE(after < peak / 8, "of %zu KiB at the peak %zu KiB are left", peak >> 10, after >> 10);
    return done();
}
