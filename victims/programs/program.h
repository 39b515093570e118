// What the programs share: sound programs that must behave on this heap as on any other. Each checks itself,
// prints "ok" as its last line and exits 0; otherwise it says what is not so and exits 1.
#ifndef PROGRAM_H
#define PROGRAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef __cplusplus
#include <stdatomic.h>
#endif

// Says what is not so without allocating, and ends the program.
#define REQUIRE(holds, ...)                                                                                  \
    do {                                                                                                     \
        if (!(holds)) {                                                                                      \
            char line_[400];                                                                                 \
            int n_ = snprintf(line_, sizeof line_, "%s:%d: not so: %s: ", __FILE__, __LINE__, #holds);       \
            n_ += snprintf(line_ + n_, sizeof line_ - n_, __VA_ARGS__);                                      \
            if (n_ > (int)sizeof line_ - 2)                                                                  \
                n_ = sizeof line_ - 2;                                                                       \
            line_[n_++] = '\n';                                                                              \
            if (write(1, line_, n_)) {                                                                       \
            }                                                                                                \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static inline void *hide(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

// Small, fast, and the same on every machine (xorshift64*).
static inline uint64_t random_next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

// Contents that depend on the seed; only the head, the tail and one word in 512 bytes for large blocks.
static inline void fill(void *block, size_t bytes, uint64_t seed) {
    unsigned char *b = (unsigned char *)block;
    for (size_t i = 0; i < bytes; i += i < 64 || bytes - i <= 64 ? 1 : bytes - i < 576 ? bytes - i - 64 : 512)
        b[i] = (unsigned char)(seed * 131 + i * 31 + 7);
}

static inline int holds(const void *block, size_t bytes, uint64_t seed) {
    const unsigned char *b = (const unsigned char *)block;
    for (size_t i = 0; i < bytes; i += i < 64 || bytes - i <= 64 ? 1 : bytes - i < 576 ? bytes - i - 64 : 512)
        if (b[i] != (unsigned char)(seed * 131 + i * 31 + 7))
            return 0;
    return 1;
}

static inline size_t resident_bytes(void) {
    long pages = 0, total = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &total, &pages) != 2)
        REQUIRE(0, "/proc/self/statm can be read");
    fclose(file);
    return (size_t)pages * 4096;
}

static inline double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

// Waits for the child of a round. One that is silent for `silence` seconds hangs: it is stopped, and the program ends.
static inline void await_child(pid_t pid, long round, double silence) {
    double start = seconds_now();
    int status;
    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (seconds_now() - start > silence) {
            kill(pid, SIGABRT);
            REQUIRE(0, "child %d of round %ld is silent for %.0f s: it hangs", (int)pid, round, silence);
        }
        usleep(200);
    }
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status of child %ld is %#x", round, status);
}

static inline long number(int argc, char **argv, int index, long otherwise) {
    return argc > index ? strtol(argv[index], NULL, 10) : otherwise;
}

static inline int done(void) {
    puts("ok");
    return 0;
}
#endif
