// Forks by a bare system call, past libc and its handlers, while other threads allocate and free large blocks without
// pause: many a child is made while one of them holds the heap's lock, and finds what the lock guards half changed.
// Each child uses the heap on its own, then with threads of its own. One that is silent for `silence` seconds hangs.
#include "program.h"
#include <sys/syscall.h>

enum { LARGE_MAX = 3 << 20, CHILD_BLOCKS = 300, SHARED_BLOCKS = 64 };

static atomic_int stop;
static void *shared[SHARED_BLOCKS]; // Made by main, of `shared_bytes`, live in every process.
static size_t shared_bytes(int i) { return i % 4 ? (size_t)i * 40 : 200000 + (size_t)i * 3000; }

static void *busy(void *seed) {
    uint64_t state = (uintptr_t)seed * 77 + 1;
    void *blocks[32] = {0};
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = random_next(&state);
        void **place = &blocks[r % 32];
        size_t bytes = (r >> 16) % LARGE_MAX;
        if ((r >> 8) % 4 == 0) {
            *place = realloc(*place, bytes + 1);
        } else {
            free(*place);
            *place = malloc((r >> 12) % 4 ? bytes : bytes % 40000);
        }
        if ((r >> 40) % 512 == 0)
            malloc_trim(0);
    }
    for (int i = 0; i < 32; i++)
        free(blocks[i]);
    return NULL;
}

static void *use_heap(void *round) {
    static const size_t zero_bytes = 300000;
    void *blocks[CHILD_BLOCKS];
    int seed = (int)(intptr_t)round;
    for (int i = 0; i < CHILD_BLOCKS; i++) {
        size_t bytes = i % 10 == 0 ? 70000 + (size_t)((i * 131 + seed * 977) % 500000) : (size_t)(i * 37 + seed) % 3000;
        blocks[i] = malloc(bytes);
        REQUIRE(blocks[i] != NULL, "malloc in the child");
        fill(blocks[i], bytes, i);
    }
    unsigned char *zeros = calloc(1, zero_bytes);
    REQUIRE(zeros != NULL, "calloc in the child");
    for (size_t i = 0; i < zero_bytes; i++)
        REQUIRE(zeros[i] == 0, "calloc's byte %zu is %d", i, zeros[i]);
    free(zeros);
    for (int i = 0; i < CHILD_BLOCKS; i++) {
        size_t bytes = i % 10 == 0 ? 70000 + (size_t)((i * 131 + seed * 977) % 500000) : (size_t)(i * 37 + seed) % 3000;
        REQUIRE(holds(blocks[i], bytes, i), "contents of the child's block %d", i);
        free(blocks[i]);
    }
    return NULL;
}

static void child(int round) {
    use_heap((void *)(intptr_t)round);
    if (round % 4 == 0) {
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            REQUIRE(pthread_create(&threads[i], NULL, use_heap, (void *)(intptr_t)(round + i)) == 0, "thread");
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < SHARED_BLOCKS; i++) {
        REQUIRE(holds(shared[i], shared_bytes(i), i), "contents of the parent's block %d", i);
        free(shared[i]);
    }
    malloc_trim(0);
    use_heap((void *)(intptr_t)(round + 1));
}

int main(int argc, char **argv) {
    long thread_count = number(argc, argv, 1, 3), forks = number(argc, argv, 2, 200);
    double silence = number(argc, argv, 3, 10);
    pthread_t threads[16];
    for (int i = 0; i < SHARED_BLOCKS; i++) {
        shared[i] = malloc(shared_bytes(i));
        fill(shared[i], shared_bytes(i), i);
    }
    for (long i = 0; i < thread_count; i++)
        pthread_create(&threads[i], NULL, busy, (void *)(i + 1));
    for (int round = 0; round < forks; round++) {
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        REQUIRE(pid >= 0, "clone");
        if (pid == 0) {
            child(round);
            _exit(0);
        }
        await_child(pid, round, silence);
    }
    atomic_store(&stop, 1);
    for (long i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
    return done();
}
