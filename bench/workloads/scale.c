/* The same work shared out among more and more threads: sessions of a server. Each thread keeps 500 blocks of 16 bytes to
 * 4 KiB and replaces one at random; every eighth it exchanges with a table that all threads share, so that it frees what
 * another one made; and after 20000 replacements it ends, and a new thread takes its place. What counts is the time on the
 * clock.
 *
 *   scale THREADS */
#include "common.h"

enum { REPLACEMENTS = 24000000, SESSION = 20000, SET = 500, SHARED = 4096 };
static _Atomic(void *) shared[SHARED];
static atomic_int sessions_left;

static size_t size_of(uint64_t r) {
    return r % 16 ? 16 + (r >> 20) % 496 : 512 + (r >> 20) % 3584;
}

static void *session(void *argument) {
    rng_t rng = {(uint64_t)(uintptr_t)argument};
    void *set[SET] = {0};
    for (int i = 0; i < SESSION; i++) {
        uint64_t r = rng_next(&rng);
        void *block = block_new(size_of(r));
        void *old;
        if ((r >> 8) % 8 == 0) {
            old = atomic_exchange_explicit(&shared[(r >> 40) % SHARED], block, memory_order_acq_rel);
        } else {
            void **slot = &set[(r >> 40) % SET];
            old = *slot;
            *slot = block;
        }
        if (old) block_end(old);
    }
    for (int i = 0; i < SET; i++) if (set[i]) block_end(set[i]);
    return NULL;
}

/* Starts one session after the other. */
static void *seat(void *argument) {
    int number;
    (void)argument;
    while ((number = atomic_fetch_sub(&sessions_left, 1)) > 0)
        pthread_join(thread_start(session, (void *)(uintptr_t)(number + 1)), NULL);
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t ids[256];
    atomic_store(&sessions_left, REPLACEMENTS / SESSION);
    for (int t = 0; t < threads; t++) ids[t] = thread_start(seat, NULL);
    for (int t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    for (int i = 0; i < SHARED; i++) if (shared[i]) block_end(shared[i]);
    printf("done\n");
}
