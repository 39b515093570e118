/* A dozen peaks of 96 MiB in blocks of 16 bytes to 64 KiB, each freed wholly (in an order of its own), then
 * two seconds of rest; prints the resident memory after that.
 *
 *   peak idle      not one call while it rests
 *   peak trickle   a few small blocks every 10 ms, like a server at night
 *   peak scattered the same, but of the last peak one block in 300 lives on, wherever it lies */
#include "common.h"

enum { SURVIVORS = 300, COUNT = 300000, PEAK = 96 << 20, PEAKS = 12, REST_MS = 2000, STEP_MS = 10 };
static void *blocks[COUNT];

static void trickle(rng_t *rng) {
    void *some[8];
    for (int i = 0; i < 8; i++) some[i] = block_new(16 + rng_below(rng, 500));
    for (int i = 0; i < 8; i++) block_end(some[i]);
}

int main(int argc, char **argv) {
    int scattered = argc > 1 && !strcmp(argv[1], "scattered");
    int active = scattered || (argc > 1 && !strcmp(argv[1], "trickle"));
    rng_t rng = {14};
    uint64_t sum = 0;
    int survivors = 0;
    for (int peak = 0; peak < PEAKS; peak++) {
        size_t total = 0;
        int count = 0;
        while (total < PEAK && count < COUNT) {
            size_t bytes = 16 + rng_below(&rng, 16u << rng_below(&rng, 12));
            blocks[count] = block_new(bytes);
            memset(blocks[count], (int)bytes & 0xff, bytes);
            total += bytes, count++;
        }
        for (int i = count - 1; i > 0; i--) {
            int other = (int)rng_below(&rng, (uint32_t)i + 1);
            void *swap = blocks[i];
            blocks[i] = blocks[other], blocks[other] = swap;
        }
        int kept = scattered && peak == PEAKS - 1 ? count / SURVIVORS : 0;
        for (int i = kept; i < count; i++) sum += block_end(blocks[i]);
        survivors = kept;
    }
    if (active) for (int ms = 0; ms < REST_MS; ms += STEP_MS) trickle(&rng), sleep_ms(STEP_MS);
    else sleep_ms(REST_MS);
    print_rss("rss_after_kib");
    for (int i = 0; i < survivors; i++) sum += block_end(blocks[i]);
    printf("%llu\n", (unsigned long long)sum);
}
