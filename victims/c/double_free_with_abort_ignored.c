// A program that ignores and blocks SIGABRT frees a block twice.
// Promised: caught; with on-finding=abort it is stopped by SIGABRT all the same.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    signal(SIGABRT, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    free_twice(filled(100));
    return survived();
}
