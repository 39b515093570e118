// A thread frees the address of its own local variable.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *order) {
    BUG(free(order));
}

static void *clerk(void *unused) {
    pthread_setname_np(pthread_self(), "clerk");
    _Alignas(16) char order[64];
    fill(order, sizeof order, 0);
    drop(hide(order));
    intact(order, sizeof order, 0, "the local variable");
    return unused;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, clerk, NULL);
    pthread_join(thread, NULL);
    return survived();
}
