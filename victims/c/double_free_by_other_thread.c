// The owner frees a block, then another thread frees it again.
// Promised: caught at the second call, and the thread is named.
#include "victim.h"

static NOINLINE void audit(void *order) {
    BUG(free(order));
}

static void *auditor(void *order) {
    pthread_setname_np(pthread_self(), "auditor");
    audit(order);
    return NULL;
}

int main(void) {
    void *order = filled(100);
    free(order);
    pthread_t thread;
    pthread_create(&thread, NULL, auditor, order);
    pthread_join(thread, NULL);
    return survived();
}
