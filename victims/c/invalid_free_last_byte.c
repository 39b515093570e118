// The program frees the address of the last byte of a block of the size given.
// Promised: caught (CWE-761): this finds tables that divide by multiplying with a rounded inverse.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(int argc, char **argv) {
    require(argc == 2, "one argument, a size in bytes");
    size_t bytes = strtoul(argv[1], NULL, 10);
    char *order = filled(bytes);
    drop(hide(order + bytes - 1));
    intact(order, bytes, 0, "the block");
    free(order);
    return survived();
}
