// A thousand threads that live at once, each with blocks of twenty sizes: the memory that they take is bounded,
// and the tenth thousand takes little more than the first (blocks freed lately are not
// the next to be handed out, so a new thread touches a few new pages of its heap).
#include "program.h"

enum { THREADS = 1000, SIZES = 20 };
static pthread_barrier_t all;

static void *clerk(void *unused) {
    void *blocks[SIZES];
    for (int i = 0; i < SIZES; i++) {
        blocks[i] = malloc(16 + i * i * 16);
        fill(blocks[i], 16 + i * i * 16, i);
    }
    pthread_barrier_wait(&all);
    for (int i = 0; i < SIZES; i++) {
        REQUIRE(holds(blocks[i], 16 + i * i * 16, i), "contents");
        free(blocks[i]);
    }
    return unused;
}

static size_t run(void) {
    static pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_barrier_init(&all, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], &attributes, clerk, NULL) == 0, "thread %d", i);
    size_t resident = 0;
    while (resident_bytes() > resident) { // until all stand at the barrier
        resident = resident_bytes();
        usleep(50000);
    }
    pthread_barrier_wait(&all);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return resident;
}

int main(void) {
    size_t first = run(), last = 0;
    for (int generation = 1; generation < 10; generation++)
        last = run();
    printf("resident with %d threads: %zu KiB, ten generations later %zu KiB\n", THREADS, first >> 10, last >> 10);
    REQUIRE(first < (size_t)200 << 20, "%zu MiB", first >> 20);
    REQUIRE(last < 3 * first, "%zu MiB, then %zu MiB", first >> 20, last >> 20);
    return done();
}
