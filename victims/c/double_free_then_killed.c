// A block is freed twice, and the program is killed by SIGKILL in the next line.
// Promised: caught; the finding is in the recording before the call returns.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    free_twice(filled(100));
    survived();
    kill(getpid(), SIGKILL);
    return 1;
}
