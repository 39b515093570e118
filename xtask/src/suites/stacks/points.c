/* Allocates under recursion, callbacks, variable frames, threads and signal handlers. */
#include <alloca.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void keep(size_t bytes) {
    char *block = malloc(bytes);
    memset(block, 1, bytes);
    __asm__ volatile("" : : "r"(block) : "memory");
    free(block);
}

static int compare(const void *a, const void *b) {
    keep(24);
    return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static int sort(int n) {
    int values[40];
    for (int i = 0; i < 40; i++) values[i] = (i * 7919 + n) % 41;
    qsort(values, 40, sizeof *values, compare);
    return values[n % 40];
}

__attribute__((noinline)) static int variable(int n) {
    char *room = alloca(n * 50 + 17);
    memset(room, n, n * 50 + 17);
    __asm__ volatile("" : : "r"(room) : "memory");
    keep(n + 1);
    return sort(n) + room[n];
}

__attribute__((noinline)) static int aligned(int n) {
    char room[128] __attribute__((aligned(64)));
    char *more = alloca(n * 24 + 5);
    memset(room, n, sizeof room);
    memset(more, n, n * 24 + 5);
    __asm__ volatile("" : : "r"(room), "r"(more) : "memory");
    keep(n + 100);
    return room[n & 127] + more[n];
}

__attribute__((noinline)) static int odd(int n, long a, long b, long c, long d, long e, long f);

__attribute__((noinline)) static int even(int n, long a, long b, long c, long d, long e, long f) {
    if (n % 5 == 0) keep(n + 8);
    if (n <= 0) return variable(7) + aligned(9);
    return odd(n - 1, b, c, d, e, f, a) * 3 + (int)(a * b);
}

__attribute__((noinline)) static int odd(int n, long a, long b, long c, long d, long e, long f) {
    volatile char room[200];
    room[n % 200] = (char)a;
    keep(n + 8);
    return even(n - 1, f, a, b, c, d, e) + room[n % 200];
}

static void on_signal(int number) { aligned(number); sort(number); }

static void *work(void *argument) {
    long sum = 0;
    signal(SIGUSR1, on_signal);
    for (int n = 0; n < 60; n++) {
        raise(SIGUSR1);
        sum += even(n, 1, 2, 3, 4, 5, (long)argument);
    }
    return (void *)sum;
}

int main(void) {
    pthread_t threads[3];
    long sum = (long)work(0);
    for (long i = 0; i < 3; i++) {
        pthread_create(&threads[i], 0, work, (void *)i);
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%ld\n", sum);
}
