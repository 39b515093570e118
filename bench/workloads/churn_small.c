/* One thread, small blocks, short lives: what an interpreter or a big-number library does. Blocks of 16 to
 * 112 bytes live in a ring of 96; a block in 32 lives much longer, in a table of 4096. */
#include "common.h"

int main(void) {
    enum { RING = 96, TABLE = 4096, ROUNDS = 60000000 };
    static void *ring[RING], *table[TABLE];
    rng_t rng = {1};
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t r = rng_next(&rng);
        void **slot = (r & 31) ? &ring[i % RING] : &table[(r >> 8) % TABLE];
        if (*slot) sum += block_end(*slot);
        *slot = block_new(16 + ((r >> 40) % 13) * 8);
    }
    for (int i = 0; i < RING; i++) if (ring[i]) sum += block_end(ring[i]);
    for (int i = 0; i < TABLE; i++) if (table[i]) sum += block_end(table[i]);
    printf("%llu\n", (unsigned long long)sum);
}
