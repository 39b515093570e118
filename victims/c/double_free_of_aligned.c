// A block with the alignment given is freed twice.
// Promised: caught at the second call, whatever the alignment.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(int argc, char **argv) {
    require(argc == 2, "one argument, an alignment in bytes");
    size_t alignment = strtoul(argv[1], NULL, 10);
    void *order = hide(aligned_alloc(alignment, 2 * alignment));
    require(((uintptr_t)order & (alignment - 1)) == 0, "the alignment asked for");
    fill(order, 2 * alignment, 0);
    free_twice(order);
    return survived();
}
