// System calls that alarms interrupt, and a handler that is left by longjmp out of malloc: alarms come as often as a profiler sends them.
#include "program.h"
#include <setjmp.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms;
static sigjmp_buf back;
static volatile sig_atomic_t may_jump;

static void on_alarm(int number) {
    (void)number;
    alarms++;
    if (may_jump && alarms % 8 == 0) {
        may_jump = 0;
        siglongjmp(back, 1);
    }
}

int main(int argc, char **argv) {
    double seconds = number(argc, argv, 1, 1);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 1000}, {0, 1000}}, NULL);
    int ends[2];
    REQUIRE(pipe(ends) == 0, "pipe");
    double end = seconds_now() + seconds;
    long rounds = 0, jumps = 0;
    static void *volatile lost[64];
    while (seconds_now() < end) {
        char *out = malloc(1000), *in = malloc(1000);
        fill(out, 1000, rounds);
        REQUIRE(write(ends[1], out, 1000) == 1000, "write: %d", errno);
        size_t got = 0;
        while (got < 1000) {
            ssize_t now = read(ends[0], in + got, 1000 - got);
            REQUIRE(now > 0, "read: %d", errno);
            got += now;
        }
        REQUIRE(holds(in, 1000, rounds), "what went through the pipe");
        free(out);
        free(in);
        if (sigsetjmp(back, 1) == 0) {
            may_jump = 1;
            for (int i = 0; i < 64; i++) {
                // In this order, as the handler may be left at any point.
                void *last = lost[i];
                lost[i] = NULL;
                free(last);
                lost[i] = malloc(100 + i);
            }
            may_jump = 0;
        } else {
            jumps++;
        }
        rounds++;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    REQUIRE(alarms > 50, "%d alarms", (int)alarms);
    REQUIRE(rounds > 0 && jumps > 0, "%ld rounds, %ld jumps", rounds, jumps);
    return done();
}
