// One thread allocates, another frees, through a bounded queue: memory does not grow with the count.
#include "program.h"

enum { QUEUE = 1024 };
static void *_Atomic queue[QUEUE];
static long count;

static void *consumer(void *unused) {
    for (long i = 0; i < count; i++) {
        void *block;
        while ((block = atomic_exchange(&queue[i % QUEUE], NULL)) == NULL)
            sched_yield();
        REQUIRE(holds(block, 16 + i % 500, i), "contents of block %ld", i);
        free(block);
    }
    return unused;
}

int main(int argc, char **argv) {
    count = number(argc, argv, 1, 2000000);
    pthread_t thread;
    pthread_create(&thread, NULL, consumer, NULL);
    size_t peak = 0;
    for (long i = 0; i < count; i++) {
        void *block = malloc(16 + i % 500);
        fill(block, 16 + i % 500, i);
        while (atomic_load(&queue[i % QUEUE]) != NULL)
            sched_yield();
        atomic_store(&queue[i % QUEUE], block);
        if (i % 100000 == 0 && resident_bytes() > peak)
            peak = resident_bytes();
    }
    pthread_join(thread, NULL);
    printf("peak %zu KiB\n", peak >> 10);
    REQUIRE(peak < (size_t)40 << 20, "a queue of %d blocks takes %zu KiB", QUEUE, peak >> 10);
    return done();
}
