// The program frees an address inside a block that was aligned to a page.
// Promised: caught (CWE-761); the block lives on.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *order = hide(memalign(4096, 8000));
    fill(order, 8000, 0);
    drop(hide(order + 4096));
    intact(order, 8000, 0, "the block");
    free(order);
    return survived();
}
