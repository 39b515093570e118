/* What the synthetic workloads share: a repeatable random source, and ways to use a block as a program
 * would. The work is fixed, never the time, so CPU time can be compared; each prints a checksum that must
 * be the same on every allocator. */
#ifndef HK_BENCH_COMMON_H
#define HK_BENCH_COMMON_H
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct { uint64_t state; } rng_t;

static inline uint64_t rng_next(rng_t *rng) {
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in 0..bound. */
static inline uint32_t rng_below(rng_t *rng, uint32_t bound) {
    return (uint32_t)(((rng_next(rng) >> 32) * (uint64_t)bound) >> 32);
}

static inline void *must(void *block) {
    if (!block) {
        static const char text[] = "out of memory\n";
        if (write(2, text, sizeof text - 1) < 0) _exit(4);
        _exit(3);
    }
    return block;
}

/* Allocates and writes the first and the last word, as most programs soon would. */
static inline void *block_new(size_t bytes) {
    unsigned char *block = must(malloc(bytes));
    block[0] = (unsigned char)bytes;
    block[bytes - 1] = (unsigned char)bytes;
    return block;
}

/* Reads the first byte back (0 when it was overwritten by a neighbour) and frees. */
static inline unsigned block_end(void *block) {
    unsigned byte = *(unsigned char *)block;
    free(block);
    return byte;
}

/* Touches one byte of every page. */
static inline void touch_pages(void *block, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 4096) ((volatile unsigned char *)block)[at] = 1;
}

static inline void sleep_ms(long ms) {
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

/* Prints `KEY=KIB` of this process's resident memory without a single allocation. */
static inline void print_rss(const char *key) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (len <= 0) _exit(5);
    close(fd);
    text[len] = 0;
    char *resident = strchr(text, ' ');
    if (!resident) _exit(5);
    long pages = strtol(resident, NULL, 10);
    char line[128];
    int n = snprintf(line, sizeof line, "%s=%ld\n", key, pages * (sysconf(_SC_PAGESIZE) / 1024));
    if (write(1, line, (size_t)n) != n) _exit(5);
}

static inline pthread_t thread_start(void *(*entry)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, entry, argument)) _exit(6);
    return thread;
}

/* Runs WORK on so many threads (at most 16), with consecutive numbers from SEED as arguments, and adds up what they return. */
static inline uint64_t threads_sum(void *(*work)(void *), int threads, uintptr_t seed) {
    pthread_t ids[16];
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) ids[t] = thread_start(work, (void *)(seed + (uintptr_t)t));
    for (int t = 0; t < threads; t++) {
        void *part;
        pthread_join(ids[t], &part);
        sum += (uint64_t)(uintptr_t)part;
    }
    return sum;
}
#endif
