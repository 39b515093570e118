// Threads interrupt one another by signals whose handlers allocate and free, also blocks that another thread made, so that spans
// become empty in handlers as well as in what they interrupt. Contents of all blocks are checked.
#include "program.h"

enum { THREADS = 3, BATCH = 40, SHARED = 256 };
static pthread_t threads[THREADS];
static _Atomic(unsigned char *) shared[SHARED];
static atomic_long damaged, handled;
static atomic_int stop;
static _Thread_local uint64_t handler_state;

// Blocks hold their size in the first two bytes, and a pattern made from it.
static unsigned char *make(uint64_t r) {
    size_t bytes = 16 + r % 3 * 1000;
    unsigned char *block = malloc(bytes);
    fill(block, bytes, bytes);
    return block;
}

static void check_and_free(unsigned char *block) {
    size_t bytes = malloc_usable_size(block);
    bytes = bytes < 1000 ? 16 : bytes < 2000 ? 1016 : 2016;
    if (!holds(block, bytes, bytes))
        damaged++;
    free(block);
}

static void on_signal(int number) {
    int saved = errno;
    (void)number;
    for (int i = 0; i < 6; i++) {
        uint64_t r = random_next(&handler_state);
        unsigned char *old = atomic_exchange(&shared[r % SHARED], make(r >> 20));
        if (old)
            check_and_free(old);
    }
    handled++;
    errno = saved;
}

static void *work(void *argument) {
    uint64_t state = (uintptr_t)argument + 11;
    handler_state = state * 77;
    while (!stop) {
        unsigned char *batch[BATCH];
        for (int i = 0; i < BATCH; i++)
            batch[i] = make(random_next(&state));
        for (int i = 0; i < BATCH; i++) {
            unsigned char *old = atomic_exchange(&shared[random_next(&state) % SHARED], batch[i]);
            if (old)
                check_and_free(old);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    double seconds = number(argc, argv, 1, 2);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    uint64_t state = 1;
    for (double end = seconds_now() + seconds; seconds_now() < end;) {
        pthread_kill(threads[random_next(&state) % THREADS], SIGUSR1);
        usleep(20);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SHARED; i++)
        if (shared[i])
            check_and_free(shared[i]);
    REQUIRE(handled > 100, "handlers ran %ld times", (long)handled);
    REQUIRE(damaged == 0, "%ld blocks had two owners, in %ld interruptions", (long)damaged, (long)handled);
    return done();
}
