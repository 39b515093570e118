// A block is freed twice in a thread whose stack is the smallest there is (16 KiB).
// Promised: caught at the second call; the report needs next to no stack.
#include "victim.h"

static void *clerk(void *order) {
    free(order);
    BUG(free(order));
    return NULL;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    require(pthread_attr_setstacksize(&attributes, 16384) == 0, "a stack of 16 KiB");
    pthread_t thread;
    pthread_create(&thread, &attributes, clerk, filled(100));
    pthread_join(thread, NULL);
    return survived();
}
