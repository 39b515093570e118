// The destructor of a thread-local value frees it, though the thread had done so.
// Promised: caught at the second call, while the thread ends.
#include "victim.h"

static NOINLINE void release(void *order) {
    BUG(free(order));
}

static void *clerk(void *key) {
    pthread_setname_np(pthread_self(), "clerk");
    void *order = filled(100);
    pthread_setspecific(*(pthread_key_t *)key, order);
    free(order);
    return NULL;
}

int main(void) {
    pthread_key_t key;
    pthread_key_create(&key, release);
    pthread_t thread;
    pthread_create(&thread, NULL, clerk, &key);
    pthread_join(thread, NULL);
    return survived();
}
