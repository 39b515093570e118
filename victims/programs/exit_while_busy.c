// Programs end (by exit, _exit, quick_exit, a return from main) while their other threads allocate and free.
#include "program.h"

static void *busy(void *seed) {
    uint64_t state = (uintptr_t)seed + 1;
    void *blocks[128] = {0};
    for (;;) {
        uint64_t r = random_next(&state);
        free(blocks[r % 128]);
        blocks[r % 128] = malloc((r >> 8) % 16 ? (r >> 16) % 2000 : (r >> 16) % 200000);
    }
    return NULL;
}

static void freeing_handler(void) {
    for (int i = 0; i < 100; i++)
        free(hide(malloc(i * 100)));
}

int main(int argc, char **argv) {
    for (int round = 0; round < number(argc, argv, 1, 60); round++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            atexit(freeing_handler);
            for (long i = 0; i < 3; i++)
                pthread_create(&thread, NULL, busy, (void *)i);
            usleep(2000);
            switch (round % 3) {
            case 0: exit(7);
            case 1: _exit(7);
            default: quick_exit(7);
            }
        }
        int status;
        double start = seconds_now();
        while (waitpid(pid, &status, WNOHANG) == 0) {
            REQUIRE(seconds_now() - start < 10, "round %d hangs at its end", round);
            usleep(500);
        }
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status of round %d is %#x", round, status);
    }
    return done();
}
