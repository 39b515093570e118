// Forks while other threads allocate and free without pause; every child allocates 900 blocks and ends.
// A child that is silent for `silence` seconds hangs: some lock of the heap was held when it was forked.
#include "program.h"

static atomic_int stop;

static void *busy(void *seed) {
    uint64_t state = (uintptr_t)seed * 77 + 1;
    void *blocks[64] = {0};
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = random_next(&state);
        free(blocks[r % 64]);
        blocks[r % 64] = malloc((r >> 8) % 8 ? (r >> 16) % 600 : (r >> 16) % 90000);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    return NULL;
}

static void child(int round) {
    void *blocks[900];
    for (int i = 0; i < 900; i++) {
        size_t bytes = (size_t)(i * 37 + round) % 3000 + (i % 100 == 0 ? 50000 : 0);
        blocks[i] = malloc(bytes);
        REQUIRE(blocks[i] != NULL, "malloc in the child");
        fill(blocks[i], bytes, i);
    }
    for (int i = 0; i < 900; i++) {
        REQUIRE(holds(blocks[i], (size_t)(i * 37 + round) % 3000 + (i % 100 == 0 ? 50000 : 0), i), "contents");
        free(blocks[i]);
    }
}

static void *child_thread(void *round) {
    child((int)(intptr_t)round);
    return NULL;
}

int main(int argc, char **argv) {
    long thread_count = number(argc, argv, 1, 3), forks = number(argc, argv, 2, 200);
    double silence = number(argc, argv, 3, 2);
    pthread_t threads[16];
    for (long i = 0; i < thread_count; i++)
        pthread_create(&threads[i], NULL, busy, (void *)(i + 1));
    for (int round = 0; round < forks; round++) {
        pid_t pid = fork();
        REQUIRE(pid >= 0, "fork");
        if (pid == 0) {
            child(round);
            if (round % 10 == 0) { // a child may be threaded again
                pthread_t again[2];
                for (int i = 0; i < 2; i++)
                    REQUIRE(pthread_create(&again[i], NULL, child_thread, (void *)(intptr_t)round) == 0, "thread");
                for (int i = 0; i < 2; i++)
                    pthread_join(again[i], NULL);
            }
            if (round % 2)
                exit(0);
            _exit(0);
        }
        await_child(pid, round, silence);
    }
    atomic_store(&stop, 1);
    for (long i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    return done();
}
