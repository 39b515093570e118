// The parent frees a block; a child that it forked by a bare system call, past libc, frees it again.
// Promised: caught in the child; the finding is the child's.
#include "victim.h"
#include <sys/syscall.h>

static NOINLINE void inherit(void *order) {
    BUG(free(order));
}

int main(void) {
    void *order = filled(100);
    free(order);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (child == 0) {
        inherit(order);
        heap_is_sound();
        _exit(0);
    }
    ends_well(child);
    return survived();
}
