/* One thread, random sizes and random lifetimes: each step frees a random one of many slots and fills it
 * with a block whose size is skewed towards the small (a power law from 16 bytes to 4 KiB). */
#include "common.h"

static size_t skewed(uint64_t r) {
    unsigned shift = 4 + (unsigned)__builtin_ctzll(r | 0x80);       /* 16 << 0..7, halving odds */
    return ((size_t)1 << shift) + ((r >> 32) & (((size_t)1 << shift) - 1));
}

int main(void) {
    enum { SLOTS = 1 << 16, ROUNDS = 16000000 };
    static void *slots[SLOTS];
    rng_t rng = {2};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t r = rng_next(&rng);
        void **slot = &slots[(r >> 16) % SLOTS];
        if (*slot) sum += block_end(*slot);
        *slot = block_new(skewed(rng_next(&rng)));
    }
    for (int i = 0; i < SLOTS; i++) if (slots[i]) sum += block_end(slots[i]);
    printf("%llu\n", (unsigned long long)sum);
}
