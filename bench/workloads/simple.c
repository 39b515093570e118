/* Tight loops of one size at a time: N blocks allocated, then freed first to last or last to first, for
 * N of 25, 400 and 1600 and sizes of 16 bytes to 1 KiB. Nothing else is done: the two fast paths bare. */
#include "common.h"

int main(void) {
    enum { PAIRS_PER_CASE = 1600000 };
    static const int counts[] = {25, 400, 1600};
    static const size_t sizes[] = {16, 48, 96, 160, 256, 512, 1024};
    static void *blocks[1600];
    uint64_t sum = 0;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int round = 0; round < PAIRS_PER_CASE / counts[c]; round++) {
                int n = counts[c];
                for (int i = 0; i < n; i++) {
                    blocks[i] = must(malloc(sizes[s]));
                    *(unsigned char *)blocks[i] = (unsigned char)i;
                }
                if (round & 1) for (int i = n - 1; i >= 0; i--) sum += block_end(blocks[i]);
                else for (int i = 0; i < n; i++) sum += block_end(blocks[i]);
            }
    printf("%llu\n", (unsigned long long)sum);
}
