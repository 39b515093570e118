// The thread that allocated a block is gone; another frees it twice.
// Promised: caught at the second call.
#include "victim.h"

static void *clerk(void *unused) {
    (void)unused;
    return filled(100);
}

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(void) {
    pthread_t thread;
    void *order;
    pthread_create(&thread, NULL, clerk, NULL);
    pthread_join(thread, &order);
    free_twice(order);
    return survived();
}
