// Eight threads each free 50 blocks of their own twice, all at once.
// Promised: all 400 are caught; findings that meet do not lose one another.
#include "victim.h"

static pthread_barrier_t barrier;

static NOINLINE void free_again(void *order) {
    free(order);
}

static void *clerk(void *unused) {
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 50; i++) {
        void *order = filled(32);
        free(order);
        BUG(free_again(order));
    }
    return unused;
}

int main(void) {
    pthread_t threads[8];
    pthread_barrier_init(&barrier, NULL, 8);
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, clerk, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    return survived();
}
