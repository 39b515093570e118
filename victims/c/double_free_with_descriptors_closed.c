// The program closes every descriptor, as daemons do, before it frees a block twice.
// Promised: caught; the library holds no descriptor that it could lose. The exit status tells the end.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    survived();
    for (int descriptor = 0; descriptor < 1024; descriptor++)
        close(descriptor);
    free_twice(filled(100));
    heap_is_sound();
    return 9;
}
