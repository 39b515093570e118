// Free a; allocate another block of the same size; free a again.
// Promised: caught, as a block freed just now is never the next one handed out; the other block lives on.
#include "victim.h"

static NOINLINE void free_again(void *order) {
    free(order);
}

int main(void) {
    void *order = filled(32);
    free(order);
    void *invoice = filled(32);
    require(invoice != order, "a block freed just now is not the next to be handed out");
    BUG(free_again(order));
    intact(invoice, 32, 0, "the block of the same size");
    free(invoice);
    return survived();
}
