// realloc moved a block, and the program frees the address it had before.
// Promised: caught at the call; the moved block keeps its contents.
#include "victim.h"

static NOINLINE void free_old(void *order) {
    free(order);
}

int main(void) {
    void *old = filled(100);
    void *neighbour = filled(100); // so that the block cannot grow where it is
    uintptr_t address = (uintptr_t)old;
    void *grown = hide(realloc(old, 100000));
    require((uintptr_t)grown != address, "a block that grows a thousandfold moves");
    BUG(free_old((void *)address));
    intact(grown, 100, 0, "the moved block");
    free(grown);
    free(neighbour);
    return survived();
}
