// Another thread frees an address in the middle of a block.
// Promised: caught (CWE-761); the block lives on.
#include "victim.h"

static void *clerk(void *o) {
    pthread_setname_np(pthread_self(), "clerk");
    BUG(free(o));
    return NULL;
}

int main(void) {
    char *order = filled(100);
    pthread_t thread;
    pthread_create(&thread, NULL, clerk, order + 48);
    pthread_join(thread, NULL);
    intact(order, 100, 0, "the block");
    free(order);
    return survived();
}
