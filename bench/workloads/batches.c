/* Waves of blocks: each wave allocates a few thousand blocks, a run of like sizes at a time; then the older
 * half is freed first to last, a quarter last to first, the rest together with the next wave. */
#include "common.h"

int main(void) {
    enum { WAVE = 6000, WAVES = 5000 };
    static void *wave[WAVE], *held[WAVE / 4];
    rng_t rng = {17};
    uint64_t sum = 0;
    int held_count = 0;
    for (int w = 0; w < WAVES; w++) {
        for (int i = 0; i < WAVE;) {
            size_t bytes = 16 + rng_below(&rng, 60) * rng_below(&rng, 16);
            int run = 1 + (int)rng_below(&rng, 40);
            for (; run && i < WAVE; run--) wave[i++] = block_new(bytes);
        }
        for (int i = 0; i < held_count; i++) sum += block_end(held[i]);
        for (int i = 0; i < WAVE / 2; i++) sum += block_end(wave[i]);
        for (int i = WAVE * 3 / 4 - 1; i >= WAVE / 2; i--) sum += block_end(wave[i]);
        held_count = WAVE / 4;
        memcpy(held, wave + WAVE * 3 / 4, sizeof held);
    }
    for (int i = 0; i < held_count; i++) sum += block_end(held[i]);
    printf("%llu\n", (unsigned long long)sum);
}
