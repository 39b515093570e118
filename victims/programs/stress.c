// Threads allocate, resize and free blocks of all sizes and alignments, their own and each other's, and check
// every block's contents. The heap's own check of itself is elsewhere; this one sees it as a program does.
#include "program.h"

enum { SHARED = 4096 };
typedef struct {
    size_t bytes;
    uint64_t seed;
} Head;

static void *_Atomic shared[SHARED];
static double end;

static size_t random_bytes(uint64_t *state) {
    uint64_t r = random_next(state);
    switch (r % 32) {
    case 0: return (r >> 8) % 2000000;
    case 1: case 2: return (r >> 8) % 60000;
    case 3: case 4: case 5: case 6: return (r >> 8) % 5000;
    default: return (r >> 8) % 300;
    }
}

static Head *make(uint64_t *state) {
    size_t bytes = random_bytes(state) + sizeof(Head);
    uint64_t r = random_next(state);
    Head *head;
    if (r % 16 == 0)
        head = memalign((size_t)16 << (r >> 8) % 10, bytes);
    else if (r % 16 == 1)
        head = calloc(1, bytes);
    else
        head = malloc(bytes);
    REQUIRE(head != NULL, "%zu bytes", bytes);
    head->bytes = bytes - sizeof(Head);
    head->seed = r;
    fill(head + 1, head->bytes, r);
    return head;
}

static void check(Head *head) {
    REQUIRE(holds(head + 1, head->bytes, head->seed), "contents of %zu bytes", head->bytes);
}

static Head *resize(Head *head, uint64_t *state) {
    size_t bytes = random_bytes(state), common = head->bytes < bytes ? head->bytes : bytes;
    if (common < 64) // fill() is dense there: what is kept can be checked
        for (size_t i = 0; i < common; i++)
            ((unsigned char *)(head + 1))[i] = (unsigned char)i;
    head = realloc(head, bytes + sizeof(Head));
    REQUIRE(head != NULL, "realloc to %zu bytes", bytes);
    if (common < 64)
        for (size_t i = 0; i < common; i++)
            REQUIRE(((unsigned char *)(head + 1))[i] == (unsigned char)i, "contents after realloc");
    head->bytes = bytes;
    fill(head + 1, bytes, head->seed);
    return head;
}

static void *worker(void *seed) {
    uint64_t state = (uintptr_t)seed * 1234567 + 1;
    for (long i = 0; i % 256 || seconds_now() < end; i++) {
        uint64_t r = random_next(&state);
        Head *head = atomic_exchange(&shared[r % SHARED], NULL);
        if (head == NULL)
            head = make(&state);
        else {
            check(head);
            if (r >> 60 == 0)
                head = resize(head, &state);
            else {
                free(head);
                continue;
            }
        }
        head = atomic_exchange(&shared[(r >> 32) % SHARED], head);
        if (head) {
            check(head);
            free(head);
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    long threads = number(argc, argv, 1, 4), generations = number(argc, argv, 3, 4);
    double seconds = number(argc, argv, 2, 4);
    for (long generation = 0; generation < generations; generation++) { // blocks outlive their threads
        end = seconds_now() + seconds / generations;
        pthread_t ids[64];
        for (long i = 0; i < threads; i++)
            REQUIRE(pthread_create(&ids[i], NULL, worker, (void *)(generation * 100 + i + 1)) == 0, "a thread");
        for (long i = 0; i < threads; i++)
            pthread_join(ids[i], NULL);
    }
    for (int i = 0; i < SHARED; i++) {
        Head *head = shared[i];
        if (head) {
            check(head);
            free(head);
        }
    }
    return done();
}
