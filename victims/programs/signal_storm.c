// A timer's signal interrupts the program thousands of times a second, mostly inside malloc and free, and
// its handler allocates and frees. glibc does not allow that and neither do we promise it; yet no block may be
// given to two owners unseen. Contents of all blocks are checked.
#include "program.h"
#include <sys/time.h>

enum { SLOTS = 64 };
static void *handler_blocks[SLOTS];
static size_t handler_bytes[SLOTS];
static volatile sig_atomic_t handled, damaged;
static uint64_t handler_state = 99;

static void on_alarm(int number) {
    (void)number;
    int saved = errno;
    for (int i = 0; i < 4; i++) {
        uint64_t r = random_next(&handler_state);
        int slot = r % SLOTS;
        if (handler_blocks[slot]) {
            if (!holds(handler_blocks[slot], handler_bytes[slot], slot + 1000))
                damaged++;
            free(handler_blocks[slot]);
        }
        handler_bytes[slot] = (r >> 8) % 200;
        handler_blocks[slot] = malloc(handler_bytes[slot]);
        fill(handler_blocks[slot], handler_bytes[slot], slot + 1000);
    }
    handled++;
    errno = saved;
}

int main(int argc, char **argv) {
    double seconds = number(argc, argv, 1, 2);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &timer, NULL);
    static void *blocks[512];
    static size_t bytes[512];
    uint64_t state = 3;
    double end = seconds_now() + seconds;
    long count = 0, mine = 0;
    while (count++ % 1000 || seconds_now() < end) {
        uint64_t r = random_next(&state);
        int slot = r % 512;
        if (blocks[slot]) {
            if (!holds(blocks[slot], bytes[slot], slot))
                mine++;
            free(blocks[slot]);
        }
        bytes[slot] = (r >> 10) % 200;
        blocks[slot] = malloc(bytes[slot]);
        fill(blocks[slot], bytes[slot], slot);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    REQUIRE(handled > 100, "the handler ran %d times", (int)handled);
    REQUIRE(damaged == 0 && mine == 0, "in %d interruptions %d blocks of the handler and %ld others had two owners",
            (int)handled, (int)damaged, mine);
    return done();
}
