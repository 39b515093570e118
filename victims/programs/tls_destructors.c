// Destructors of thread-local values allocate and free, in several rounds, after the heap's own clean-up may
// have run; thread_local buffers of libc (strerror, getaddrinfo's) are in use too.
#include "program.h"

static pthread_key_t keys[8];

static void destroy(void *block) {
    size_t round = *(size_t *)block;
    REQUIRE(holds((char *)block + 16, 200, round), "contents in round %zu", round);
    free(block);
    if (round > 3)
        return;
    size_t *next = malloc(216);
    *next = round + 1;
    fill((char *)next + 16, 200, round + 1);
    pthread_setspecific(keys[round % 8], next); // makes libc run the destructors once more
}

static void *clerk(void *unused) {
    for (int i = 0; i < 8; i++) {
        size_t *block = malloc(216);
        *block = 0;
        fill((char *)block + 16, 200, 0);
        pthread_setspecific(keys[i], block);
    }
    free(hide(strdup(strerror(12345))));
    return unused;
}

int main(void) {
    for (int i = 0; i < 8; i++)
        pthread_key_create(&keys[i], destroy);
    for (int round = 0; round < 300; round++) {
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            REQUIRE(pthread_create(&threads[i], NULL, clerk, NULL) == 0, "a thread");
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
    }
    return done();
}
