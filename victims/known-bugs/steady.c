// Correct allocations, to see what a tool costs: blocks of 16 bytes to 8 KiB come and go, some thousand are
// there at a time, and each is written from end to end once.
//
//   steady PAIRS
#include "known_bug.h"

enum { LIVE = 2000 };

static uint32_t next(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

int main(int count, char **words) {
    unsigned long pairs = count > 1 ? strtoul(words[1], NULL, 10) : 100000;
    void *live[LIVE] = {NULL};
    uint32_t state = 1;
    for (unsigned long i = 0; i < pairs; i++) {
        unsigned place = next(&state) % LIVE;
        // Small ones are many, as in real programs.
        size_t bytes = 16u + (next(&state) % 16 == 0 ? next(&state) % 8192 : next(&state) % 256);
        free_site(live[place]);
        live[place] = alloc_site(bytes);
    }
    for (int i = 0; i < LIVE; i++)
        free_site(live[i]);
    return 0;
}
