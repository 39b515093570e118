// A block of the size given is freed twice in a row: small, middle, large and zero sizes.
// Promised: caught at the second call, whatever the size.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(int argc, char **argv) {
    require(argc == 2, "one argument, a size in bytes");
    free_twice(filled(strtoul(argv[1], NULL, 10)));
    return survived();
}
