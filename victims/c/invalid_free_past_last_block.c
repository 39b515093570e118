// The program frees an address behind the last block of a run of blocks, where no block begins or none was
// ever handed out: for 1,280 bytes the rest of a 64 KiB slice is no whole block.
// Promised: caught, and no block is handed out there that reaches into the next slice.
#include "victim.h"

enum { BLOCKS = 2000 };

static int by_address(const void *a, const void *b) {
    uintptr_t left = *(const uintptr_t *)a, right = *(const uintptr_t *)b;
    return left < right ? -1 : left > right;
}

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(int argc, char **argv) {
    require(argc == 2, "one argument, a size in bytes");
    size_t bytes = strtoul(argv[1], NULL, 10);
    static uintptr_t orders[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        orders[i] = (uintptr_t)filled(bytes);
    size_t step = malloc_usable_size((void *)orders[0]);
    qsort(orders, BLOCKS, sizeof *orders, by_address);
    // The last block before every gap. glibc keeps a head before each block: hence the 16.
    for (int i = 0; i + 1 < BLOCKS; i++)
        if (orders[i + 1] > orders[i] + step + 16)
            drop((void *)(orders[i] + step));
    drop((void *)(orders[BLOCKS - 1] + step));
    blocks_are_apart(bytes, 3000);
    for (int i = 0; i < BLOCKS; i++)
        intact((void *)orders[i], bytes, 0, "a block");
    for (int i = 0; i < BLOCKS; i++)
        free((void *)orders[i]);
    return survived();
}
