// A signal handler forks in the midst of malloc, free and malloc_trim, while other threads allocate; in the child it returns,
// and the child goes on with what the handler interrupted. `raw` forks by a bare system call, past libc's handlers.
#include "program.h"
#include <sys/syscall.h>
#include <sys/time.h>

enum { BLOCKS = 400, SPANS = 3000 };

static volatile sig_atomic_t is_child, forked;
static volatile pid_t last;
static int raw, allocates;

static void fork_here(int signal) {
    (void)signal;
    if (is_child)
        return;
    int saved = errno;
    pid_t pid = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
    if (pid == 0) {
        is_child = 1;
        if (allocates) { // Wants the lock before the handler returns.
            void *small = hide(malloc(100)), *large = hide(malloc(100000));
            memset(large, 7, 100000);
            free(large);
            free(small);
        }
    } else {
        last = pid;
        forked = 1;
    }
    errno = saved;
}

static void *busy(void *seed) {
    uint64_t state = (uintptr_t)seed * 77 + 1;
    void *blocks[32] = {0};
    for (;;) {
        uint64_t r = random_next(&state);
        free(blocks[r % 32]);
        blocks[r % 32] = malloc((r >> 20) % 400000);
    }
}

// Blocks of all sizes, now and then a trim.
static void mix(int steps) {
    static void *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    static uint64_t state = 5;
    for (int step = 0; step < steps; step++) {
        uint64_t r = random_next(&state);
        int i = r % BLOCKS;
        if (blocks[i] != NULL)
            REQUIRE(holds(blocks[i], sizes[i], i), "contents of block %d", i);
        free(blocks[i]);
        sizes[i] = (r >> 12) % 5 == 0 ? 66000 + (r >> 20) % 300000 : 1 + (r >> 20) % 30000;
        blocks[i] = malloc(sizes[i]);
        REQUIRE(blocks[i] != NULL, "malloc");
        fill(blocks[i], sizes[i], i);
        if ((r >> 50) % 16 == 0)
            malloc_trim(0);
    }
}

// Many new spans: few blocks fit into one.
static void make_spans(int steps) {
    static void *blocks[SPANS];
    static int count;
    for (int step = 0; step < steps; step++) {
        if (count == SPANS) {
            for (int i = 0; i < SPANS; i++) {
                REQUIRE(holds(blocks[i], 14000 + i * 41 % 14000, i), "contents of block %d", i);
                free(blocks[i]);
            }
            count = 0;
        }
        size_t bytes = 14000 + count * 41 % 14000;
        blocks[count] = malloc(bytes);
        REQUIRE(blocks[count] != NULL, "malloc");
        fill(blocks[count], bytes, count);
        count++;
    }
}

int main(int argc, char **argv) {
    long rounds = number(argc, argv, 1, 60);
    raw = argc > 2 && strcmp(argv[2], "raw") == 0;
    struct sigaction action = {.sa_handler = fork_here, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    // They are born with all signals blocked: a child of one would be busy for ever.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_t thread;
    for (long i = 0; i < 2; i++)
        REQUIRE(pthread_create(&thread, NULL, busy, (void *)(i + 1)) == 0, "thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (long round = 0; round < rounds; round++) {
        int spans = round % 2;
        allocates = raw && round % 4 >= 2; // In a child of a threaded libc's fork that is libc's own risk.
        forked = 0;
        struct itimerval soon = {.it_value = {.tv_usec = 200 + round * 37 % 900}};
        setitimer(ITIMER_REAL, &soon, NULL);
        while (!forked && !is_child)
            spans ? make_spans(10) : mix(3);
        if (is_child) {
            spans ? make_spans(4000) : mix(800);
            _exit(0);
        }
        await_child(last, round, 20);
    }
    return done();
}
