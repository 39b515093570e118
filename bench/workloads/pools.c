/* A program of many small object pools: each thread makes runs of blocks of one size, by a table of sizes from 1 to 1000
 * bytes in which small ones are common, and frees the run in one of three orders: last first, first first, or every third
 * in turn. A quarter of each run is kept, in a store of which the oldest goes when it is full.
 *
 *   pools THREADS */
#include "common.h"

enum { RUN_MAX = 600, STORE = 20000, RUNS = 120000 };
static const struct { uint16_t bytes, weight; } sizes[] = {
    {1, 2}, {8, 8}, {16, 14}, {24, 16}, {32, 14}, {40, 10}, {56, 8}, {80, 7}, {120, 6}, {200, 5}, {350, 4}, {500, 3}, {1000, 3}};

static size_t some_size(rng_t *rng) {
    uint32_t r = rng_below(rng, 100);
    size_t i = 0;
    while (r >= sizes[i].weight) r -= sizes[i++].weight;
    return sizes[i].bytes;
}

static uint64_t keep(void **store, size_t *oldest, void *block) {
    void **slot = &store[(*oldest)++ % STORE];
    uint64_t sum = *slot ? block_end(*slot) : 0;
    *slot = block;
    return sum;
}

static void *work(void *argument) {
    rng_t rng = {(uint64_t)(uintptr_t)argument};
    void **store = must(calloc(STORE, sizeof *store));
    void *run[RUN_MAX];
    uint64_t sum = 0;
    size_t oldest = 0;
    for (int r = 0; r < RUNS; r++) {
        size_t bytes = some_size(&rng);
        int count = 20 + (int)rng_below(&rng, bytes > 200 ? 80 : RUN_MAX - 20), order = (int)rng_below(&rng, 3), kept = count / 4;
        for (int i = 0; i < count; i++) run[i] = block_new(bytes);
        for (int i = 0; i < kept; i++) sum += keep(store, &oldest, run[i]);
        if (order == 0) for (int i = count - 1; i >= kept; i--) sum += block_end(run[i]);
        if (order == 1) for (int i = kept; i < count; i++) sum += block_end(run[i]);
        if (order == 2)
            for (int start = 0; start < 3; start++)
                for (int i = kept + start; i < count; i += 3) sum += block_end(run[i]);
    }
    for (int i = 0; i < STORE; i++) if (store[i]) sum += block_end(store[i]);
    free(store);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    printf("%llu\n", (unsigned long long)threads_sum(work, threads, 21));
}
