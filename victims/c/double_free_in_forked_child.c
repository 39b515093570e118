// The parent frees a block; its forked child frees it again.
// Promised: caught in the child; the finding is the child's.
#include "victim.h"

static NOINLINE void inherit(void *order) {
    BUG(free(order));
}

int main(void) {
    void *order = filled(100);
    free(order);
    pid_t child = fork();
    if (child == 0) {
        inherit(order);
        heap_is_sound();
        _exit(0);
    }
    ends_well(child);
    return survived();
}
