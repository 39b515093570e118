// A program forks while threads have ended, and their heaps wait for new owners. In the child threads end and start at the same
// time, then more threads run than there were heaps: all get one of their own.
#include "program.h"

enum { BEFORE = 6, AFTER = 18 };
static pthread_barrier_t barrier;

static void *allocate_once(void *unused) {
    free(hide(malloc(100)));
    return unused;
}

static void *meet(void *unused) {
    free(hide(malloc(100)));
    pthread_barrier_wait(&barrier);
    return unused;
}

static void *wait_then_allocate(void *unused) {
    pthread_barrier_wait(&barrier);
    free(hide(malloc(100)));
    return unused;
}

static void run(void *(*work)(void *), int count) {
    pthread_t threads[AFTER];
    pthread_barrier_init(&barrier, NULL, count);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void child(void) {
    pthread_t ending[BEFORE], starting[BEFORE];
    pthread_barrier_init(&barrier, NULL, 2 * BEFORE);
    for (int i = 0; i < BEFORE; i++) {
        pthread_create(&ending[i], NULL, meet, NULL);
        pthread_create(&starting[i], NULL, wait_then_allocate, NULL);
    }
    for (int i = 0; i < BEFORE; i++) {
        pthread_join(ending[i], NULL);
        pthread_join(starting[i], NULL);
    }
    run(meet, AFTER);
    _exit(0);
}

int main(int argc, char **argv) {
    long forks = number(argc, argv, 1, 200);
    run(meet, BEFORE);
    run(allocate_once, 1);
    for (long i = 0; i < forks; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child();
        int status = -1;
        double end = seconds_now() + 20;
        while (waitpid(pid, &status, WNOHANG) == 0) {
            if (seconds_now() > end)
                kill(pid, SIGKILL);
            REQUIRE(seconds_now() < end, "child %ld of %ld hangs", i, forks);
            usleep(100);
        }
        REQUIRE(status == 0, "child %ld ended with status %d", i, status);
    }
    return done();
}
