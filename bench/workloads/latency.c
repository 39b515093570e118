/* How long one malloc and one free take, under load: the tail of the distribution, not its mean.
 *
 * Calls are due at fixed times, one each 500 ns, and a call's latency is counted from when it was due: a call that
 * takes long makes those behind it late too, as requests to a server would be (no coordinated omission; Tene, "How not
 * to measure latency", 2013). Another thread allocates and frees without pause and exchanges blocks with this one
 * through a table, so half of the blocks are freed by the thread that did not make them. Sizes are 16 bytes to 1 KiB
 * mostly, one in 64 up to 16 KiB and one in 2048 up to 512 KiB.
 *
 * Prints the percentiles of CENTILES in nanoseconds, measured in buckets of at most 1.6 % width, on lines that are
 * no part of the output that has to be the same on all allocators.
 *
 *   latency */
#include "common.h"

enum { CALLS = 4000000, SLOTS = 16384, DUE_NS = 500, SUB_BITS = 6, BUCKETS = 40 << SUB_BITS };
static const double CENTILES[] = {50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999, 100};

static _Atomic(void *) table[SLOTS];
static atomic_int stop;

static size_t size_of(uint64_t r) {
    if (r % 2048 == 0) return 1024 + (r >> 20) % (512 << 10);
    if (r % 64 == 0) return 1024 + (r >> 20) % (16 << 10);
    return 16 + (r >> 20) % 1008;
}

static void *load(void *argument) {
    rng_t rng = {(uint64_t)(uintptr_t)argument};
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = rng_next(&rng);
        void *old = atomic_exchange(&table[(r >> 40) % SLOTS], block_new(size_of(r)));
        if (old) block_end(old);
        if (r % 16 == 0) sched_yield();
    }
    return NULL;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

typedef struct { uint64_t counts[BUCKETS], total; } histogram_t;

static void count(histogram_t *h, uint64_t ns) {
    unsigned shift = ns < (1u << SUB_BITS) ? 0 : 63 - SUB_BITS - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (shift << SUB_BITS) + (unsigned)(ns >> shift);
    h->counts[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    h->total++;
}

static uint64_t upper_ns(unsigned bucket) {
    unsigned shift = bucket >> (SUB_BITS + 1) ? (bucket >> SUB_BITS) - 1 : 0;
    return ((uint64_t)(bucket - (shift << SUB_BITS)) + 1) << shift;
}

static void print(const char *key, const histogram_t *h) {
    printf("%s=", key);
    for (size_t c = 0; c < sizeof CENTILES / sizeof *CENTILES; c++) {
        uint64_t wanted = (uint64_t)(CENTILES[c] / 100 * (double)h->total), seen = 0;
        unsigned bucket = 0;
        if (wanted == 0 || wanted > h->total) wanted = h->total;
        while ((seen += h->counts[bucket]) < wanted) bucket++;
        printf("%s%llu", c ? "," : "", (unsigned long long)upper_ns(bucket));
    }
    printf("\n");
}

int main(void) {
    static histogram_t mallocs, frees;
    rng_t rng = {99};
    uint64_t sum = 0;
    pthread_t other = thread_start(load, (void *)7);
    for (int i = 0; i < SLOTS; i++) atomic_exchange(&table[i], block_new(size_of(rng_next(&rng))));
    uint64_t due = now_ns();
    for (int call = 0; call < CALLS; call += 2) {
        uint64_t r = rng_next(&rng);
        size_t bytes = size_of(r);
        sum += bytes;
        while (now_ns() < due) {}
        void *block = must(malloc(bytes));
        count(&mallocs, now_ns() - due);
        ((volatile unsigned char *)block)[0] = 1;
        void *old = atomic_exchange(&table[(r >> 40) % SLOTS], block);
        due += DUE_NS;
        while (now_ns() < due) {}
        free(old);
        count(&frees, now_ns() - due);
        due += DUE_NS;
    }
    atomic_store(&stop, 1);
    pthread_join(other, NULL);
    for (int i = 0; i < SLOTS; i++) block_end(atomic_load(&table[i]));
    print("malloc_ns", &mallocs);
    print("free_ns", &frees);
    printf("%llu\n", (unsigned long long)sum);
}
