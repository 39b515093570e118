/* Hours of a long-lived program in a second: in each of 16 phases the fashion in sizes changes, a tenth of
 * every older phase's blocks lives on, and the total that is live stays about 32 MiB. What does not fit the
 * holes shows as peak RSS. */
#include "common.h"

enum { SLOTS = 200000, PHASES = 16, BUDGET = 32 << 20 };
typedef struct { void *block; uint32_t bytes; } slot_t;
static slot_t slots[SLOTS];

int main(void) {
    rng_t rng = {13};
    uint64_t sum = 0, live = 0;
    for (int phase = 0; phase < PHASES; phase++) {
        uint32_t low = 16u << (rng_below(&rng, 8)), used = 0;
        for (uint32_t i = 0; i < SLOTS; i++) {
            if (!slots[i].block || rng_below(&rng, 10) == 0) continue;
            live -= slots[i].bytes;
            sum += block_end(slots[i].block);
            slots[i].block = NULL;
        }
        while (live < BUDGET && used < 4 * SLOTS) {
            slot_t *slot = &slots[rng_below(&rng, SLOTS)];
            used++;
            if (slot->block) continue;
            slot->bytes = low + rng_below(&rng, low);
            slot->block = block_new(slot->bytes);
            live += slot->bytes;
        }
        for (int i = 0; i < 200000; i++) {      /* steady state: replace like by like */
            slot_t *slot = &slots[rng_below(&rng, SLOTS)];
            if (!slot->block) continue;
            sum += block_end(slot->block);
            slot->block = block_new(slot->bytes);
        }
    }
    for (int i = 0; i < SLOTS; i++) if (slots[i].block) sum += block_end(slots[i].block);
    printf("%llu\n", (unsigned long long)sum);
}
