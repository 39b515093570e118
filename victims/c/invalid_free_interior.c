// The program frees an address 32 bytes into a block of the size given.
// Promised: caught (CWE-761), and the block is named; it lives on and can be freed.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(int argc, char **argv) {
    require(argc == 2, "one argument, a size in bytes");
    size_t bytes = strtoul(argv[1], NULL, 10);
    char *order = filled(bytes);
    drop(hide(order + 32));
    blocks_are_apart(bytes, 10);
    intact(order, bytes, 0, "the block");
    free(order);
    return survived();
}
