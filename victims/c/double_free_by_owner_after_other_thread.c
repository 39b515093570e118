// Another thread frees a block, then its owner frees it again.
// Promised: caught; the block is not handed out twice.
#include "victim.h"

static void *clerk(void *order) {
    free(order);
    return NULL;
}

static NOINLINE void close_book(void *order) {
    BUG(free(order));
}

int main(void) {
    void *order = filled(100);
    pthread_t thread;
    pthread_create(&thread, NULL, clerk, order);
    pthread_join(thread, NULL);
    close_book(order);
    return survived();
}
