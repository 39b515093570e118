// Two threads, neither of them the owner, free one block, one after the other.
// Promised: caught at the second call.
#include "victim.h"

static void *first(void *order) {
    free(order);
    return NULL;
}

static void *second(void *order) {
    pthread_setname_np(pthread_self(), "second");
    BUG(free(order));
    return NULL;
}

int main(void) {
    void *order = filled(5000);
    pthread_t thread;
    pthread_create(&thread, NULL, first, order);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, second, order);
    pthread_join(thread, NULL);
    return survived();
}
