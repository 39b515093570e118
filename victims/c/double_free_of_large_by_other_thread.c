// A block of 1 MiB is freed by its owner and again by another thread.
// Promised: caught at the second call.
#include "victim.h"

static void *auditor(void *order) {
    pthread_setname_np(pthread_self(), "auditor");
    BUG(free(order));
    return NULL;
}

int main(void) {
    void *order = filled(1 << 20);
    free(order);
    pthread_t thread;
    pthread_create(&thread, NULL, auditor, order);
    pthread_join(thread, NULL);
    return survived();
}
