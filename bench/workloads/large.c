/* Large blocks: 20 slots of 64 KiB to 4 MiB come and go, every page touched once, with small blocks in
 * between that outlive them. */
#include "common.h"

int main(void) {
    enum { SLOTS = 20, ROUNDS = 40000, SMALL = 512 };
    static void *slots[SLOTS], *small[SMALL];
    rng_t rng = {8};
    uint64_t sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        void **slot = &slots[rng_below(&rng, SLOTS)];
        if (*slot) sum += block_end(*slot);
        size_t bytes = ((size_t)65536 << rng_below(&rng, 6)) + rng_below(&rng, 65536);
        *slot = block_new(bytes);
        touch_pages((char *)*slot + 4096, bytes - 4096);
        void **kept = &small[rng_below(&rng, SMALL)];
        if (*kept) sum += block_end(*kept);
        *kept = block_new(24 + rng_below(&rng, 200));
    }
    printf("%llu\n", (unsigned long long)sum);
}
