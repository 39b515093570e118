/* A working set of 1024 blocks per thread, no sharing, sizes by an inverse square law from 4 bytes to
 * 32 KiB: a random block is freed and another allocated in its place.
 *
 *   simple_threads THREADS */
#include "common.h"

enum { SET = 1024, STEPS = 40000000, SIZES = 1 << 14 };
static uint32_t sizes[SIZES];

static void *work(void *argument) {
    rng_t rng = {(uint64_t)(uintptr_t)argument};
    void **set = must(calloc(SET, sizeof *set));
    uint64_t sum = 0;
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = rng_next(&rng);
        void **slot = &set[r % SET];
        if (*slot) sum += block_end(*slot);
        *slot = block_new(sizes[(r >> 20) % SIZES]);
    }
    for (int i = 0; i < SET; i++) if (set[i]) sum += block_end(set[i]);
    free(set);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    rng_t rng = {15};
    for (int i = 0; i < SIZES; i++) {           /* density 1/x^2 between 4 and 32768 */
        double u = (double)(rng_next(&rng) >> 11) / 9007199254740992.0;
        sizes[i] = (uint32_t)(1.0 / (1.0 / 4 - u * (1.0 / 4 - 1.0 / 32768)));
    }
    printf("%llu\n", (unsigned long long)threads_sum(work, threads, 16));
}
