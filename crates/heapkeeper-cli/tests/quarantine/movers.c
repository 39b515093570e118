/* Moves the only pointers to freed blocks about as fast as it can: between registers, stacks, thread-local and static data, blocks of the heap, and
 * threads. Nothing of a pointer is hidden, and each is in one place at a time, so a heap that waits for the last pointer never reuses one of these
 * blocks. What was written into them after their free then stays; other threads fill all blocks of that size that they get. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOVERS = 2, CHURNERS = 2, OWN = 500, NEAR = 64, BLOCK = 64, HEAP_SLOTS = 1 << 20, STATIC_SLOTS = 1 << 16 };
enum place { HEAP, STATIC, THREAD, STACK, PLACES };

struct block {
    unsigned long stamp;
    char rest[BLOCK - sizeof(unsigned long)];
};

static struct block **heap_slots[MOVERS];
static struct block *static_slots[MOVERS][STATIC_SLOTS];
static _Thread_local struct block *thread_slots[NEAR];
static struct { pthread_mutex_t lock; struct block *block; unsigned long stamp; } handed_over[MOVERS];
static atomic_int over;
static atomic_ulong moves, reused, made;

static unsigned long next(unsigned long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static struct block **slot(int mover, struct block **stack_slots, enum place place, unsigned at)
{
    switch (place) {
    case HEAP: return heap_slots[mover] + at % HEAP_SLOTS;
    case STATIC: return static_slots[mover] + at % STATIC_SLOTS;
    case THREAD: return thread_slots + at % NEAR;
    default: return stack_slots + at % NEAR;
    }
}

/* A block that is free, and that one pointer leads to. The stamp is no pointer. */
static struct block *freed_block(unsigned long *stamp)
{
    struct block *block = malloc(sizeof *block);
    memset(block, 0xA5, sizeof *block);
    free(block);
    /* Written after the free: this is the use that is harmless. */
    *stamp = atomic_fetch_add(&made, 1) + 1;
    ((volatile struct block *)block)->stamp = *stamp;
    return block;
}

static void check(struct block *block, unsigned long stamp)
{
    if (((volatile struct block *)block)->stamp != stamp)
        atomic_fetch_add(&reused, 1);
}

static void *move(void *argument)
{
    int mover = (int)(long)argument;
    unsigned long state = 88172645463325252ul + mover;
    struct block *stack_slots[NEAR] = {0};
    /* Where they are, not what they are. */
    struct { enum place place; unsigned at; unsigned long stamp; } own[OWN];
    for (int i = 0; i < OWN; i++) {
        own[i].place = HEAP;
        own[i].at = i;
        *slot(mover, stack_slots, HEAP, i) = freed_block(&own[i].stamp);
    }
    while (!atomic_load(&over)) {
        unsigned long random = next(&state);
        int i = (random >> 8) % OWN;
        struct block **from = slot(mover, stack_slots, own[i].place, own[i].at);
        struct block *block = *from;
        *from = NULL;
        check(block, own[i].stamp);
        if (random % 16 == 0)
            block = freed_block(&own[i].stamp);
        else if (random % 16 == 1) {
            /* To another thread, and another's from there. */
            int other = (random >> 4) % MOVERS;
            pthread_mutex_lock(&handed_over[other].lock);
            struct block *its = handed_over[other].block;
            unsigned long stamp = handed_over[other].stamp;
            handed_over[other].block = block;
            handed_over[other].stamp = own[i].stamp;
            pthread_mutex_unlock(&handed_over[other].lock);
            block = its;
            own[i].stamp = stamp;
            if (!block)
                block = freed_block(&own[i].stamp);
        }
        for (;;) {
            unsigned long to = next(&state);
            own[i].place = to % PLACES;
            own[i].at = (unsigned)(to >> 16);
            struct block **place = slot(mover, stack_slots, own[i].place, own[i].at);
            if (!*place) {
                *place = block;
                break;
            }
        }
        atomic_fetch_add(&moves, 1);
    }
    return NULL;
}

static void *churn(void *argument)
{
    enum { KEPT = 1 << 12 };
    static void *kept[CHURNERS][KEPT];
    int churner = (int)(long)argument;
    unsigned long state = 362436069ul + churner;
    while (!atomic_load(&over)) {
        unsigned at = next(&state) % KEPT;
        free(kept[churner][at]);
        kept[churner][at] = malloc(BLOCK);
        memset(kept[churner][at], 0xA5, BLOCK);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    int ms = count > 1 ? atoi(arguments[1]) : 1000;
    pthread_t threads[MOVERS + CHURNERS];
    for (long i = 0; i < MOVERS; i++) {
        pthread_mutex_init(&handed_over[i].lock, NULL);
        heap_slots[i] = calloc(HEAP_SLOTS, sizeof(struct block *));
        for (long at = 0; at < HEAP_SLOTS; at += 512)
            ((volatile char *)(heap_slots[i] + at))[0] = 0;
    }
    for (long i = 0; i < MOVERS; i++)
        pthread_create(&threads[i], NULL, move, (void *)i);
    for (long i = 0; i < CHURNERS; i++)
        pthread_create(&threads[MOVERS + i], NULL, churn, (void *)i);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000l};
    nanosleep(&time, NULL);
    atomic_store(&over, 1);
    for (int i = 0; i < MOVERS + CHURNERS; i++)
        pthread_join(threads[i], NULL);
    printf("made %lu moves %lu reused %lu\n", atomic_load(&made), atomic_load(&moves), atomic_load(&reused));
    return atomic_load(&reused) != 0;
}
