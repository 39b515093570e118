/* A busy server: threads build requests of many sizes, keep some for a while, and swap others through a
 * shared table, so that about a block in six is freed by another thread. New threads every round.
 *
 *   server THREADS */
#include "common.h"

enum { SHARED = 1000, OWN = 2000, ROUNDS = 60, STEPS = 150000 };
static _Atomic(void *) shared[SHARED];
typedef struct { uint64_t seed; uint64_t made, freed; } worker_t;

/* Mostly 16 to 512 bytes, a few percent of some KiB, now and then tens of KiB. */
static size_t request_bytes(rng_t *rng) {
    uint32_t r = rng_below(rng, 1000);
    if (r < 940) return 16 + rng_below(rng, 31) * 16;
    if (r < 998) return 1024 + rng_below(rng, 4096);
    return 16384 + rng_below(rng, 32768);
}

static void release(worker_t *worker, void *block) {
    if (!block) return;
    free(block);
    worker->freed++;
}

static void *work(void *argument) {
    worker_t *worker = argument;
    rng_t rng = {worker->seed};
    void **own = must(calloc(OWN, sizeof *own));
    for (int i = 0; i < STEPS; i++) {
        uint32_t r = rng_below(&rng, 6);
        void *block = block_new(request_bytes(&rng));
        worker->made++;
        if (r == 0) {
            release(worker, atomic_exchange(&shared[rng_below(&rng, SHARED)], block));
        } else {
            void **slot = &own[rng_below(&rng, OWN)];
            release(worker, *slot);
            *slot = block;
        }
    }
    for (int i = 0; i < OWN; i++) release(worker, own[i]);
    free(own);
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    worker_t workers[16] = {0};
    uint64_t made = 0, freed = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t ids[16];
        for (int t = 0; t < threads; t++) {
            workers[t].seed = (uint64_t)(round * 16 + t + 7);
            ids[t] = thread_start(work, &workers[t]);
        }
        for (int t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    }
    for (int i = 0; i < SHARED; i++) release(&workers[0], atomic_exchange(&shared[i], NULL));
    for (int t = 0; t < threads; t++) made += workers[t].made, freed += workers[t].freed;
    printf("%llu %llu\n", (unsigned long long)made, (unsigned long long)freed);
}
