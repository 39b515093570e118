// A timer's signal interrupts malloc and free all the time, and its handler allocates and frees the same sizes. When all is
// freed nothing is left in use: no block gets lost between an interrupted malloc and the handler's.
#include "program.h"
#include <sys/time.h>

static volatile sig_atomic_t handled;

static void on_alarm(int number) {
    int saved = errno;
    void *blocks[5];
    (void)number;
    for (int i = 0; i < 5; i++)
        blocks[i] = malloc(64);
    for (int i = 0; i < 5; i++)
        free(blocks[i]);
    handled++;
    errno = saved;
}

int main(int argc, char **argv) {
    enum { LIVE = 700 };
    static void *blocks[LIVE];
    double seconds = number(argc, argv, 1, 2);
    size_t before = mallinfo2().uordblks;
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 15}, {0, 15}};
    setitimer(ITIMER_REAL, &timer, NULL);
    uint64_t state = 5;
    double end = seconds_now() + seconds;
    for (long count = 0; count % 1000 || seconds_now() < end; count++) {
        int slot = random_next(&state) % LIVE;
        free(blocks[slot]);
        blocks[slot] = malloc(64);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    for (int i = 0; i < LIVE; i++)
        free(blocks[i]);
    size_t after = mallinfo2().uordblks;
    REQUIRE(handled > 100, "the handler ran %d times", (int)handled);
    REQUIRE(after <= before + 2048, "%zu bytes in use at first, %zu at the end", before, after);
    return done();
}
