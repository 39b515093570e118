// Free a block of 1 MiB; allocate another of the same size, and a small one of a size not used before; free
// the first again.
// Promised: caught, as memory freed just now is not the next to be handed out, be it as large or in pieces;
// the others live on.
#include "victim.h"

static NOINLINE void free_again(void *order) {
    free(order);
}

int main(void) {
    void *order = filled(1 << 20);
    free(order);
    void *invoice = filled(1 << 20);
    require(invoice != order, "a large block freed just now is not the next to be handed out");
    void *receipt = filled(272);
    require(receipt != order, "its memory is not the next to be cut into blocks");
    BUG(free_again(order));
    intact(invoice, 1 << 20, 0, "the block of the same size");
    intact(receipt, 272, 0, "the small block");
    free(invoice);
    free(receipt);
    return survived();
}
