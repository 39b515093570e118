/* Producers allocate, consumers free: no block is ever freed by the thread that made it. Batches of 256
 * blocks go through a bounded queue; who must wait sleeps, so that waiting costs no CPU time.
 *
 *   handoff PAIRS */
#include "common.h"

enum { BATCH = 256, QUEUE = 16, BATCHES = 45000 };
typedef struct { void *blocks[BATCH]; } batch_t;
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    batch_t ring[QUEUE];
    unsigned head, tail;
    uint64_t seed, sum;
} lane_t;

static void *producer(void *argument) {
    lane_t *lane = argument;
    rng_t rng = {lane->seed};
    for (int b = 0; b < BATCHES; b++) {
        batch_t batch;
        for (int i = 0; i < BATCH; i++) batch.blocks[i] = block_new(8 + rng_below(&rng, 32) * 8);
        pthread_mutex_lock(&lane->lock);
        while (lane->head - lane->tail == QUEUE) pthread_cond_wait(&lane->not_full, &lane->lock);
        lane->ring[lane->head++ % QUEUE] = batch;
        pthread_cond_signal(&lane->not_empty);
        pthread_mutex_unlock(&lane->lock);
    }
    return NULL;
}

static void *consumer(void *argument) {
    lane_t *lane = argument;
    for (int b = 0; b < BATCHES; b++) {
        pthread_mutex_lock(&lane->lock);
        while (lane->head == lane->tail) pthread_cond_wait(&lane->not_empty, &lane->lock);
        batch_t batch = lane->ring[lane->tail++ % QUEUE];
        pthread_cond_signal(&lane->not_full);
        pthread_mutex_unlock(&lane->lock);
        for (int i = 0; i < BATCH; i++) lane->sum += block_end(batch.blocks[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    int pairs = argc > 1 ? atoi(argv[1]) : 1;
    static lane_t lanes[8];
    pthread_t ids[16];
    uint64_t sum = 0;
    for (int p = 0; p < pairs; p++) {
        pthread_mutex_init(&lanes[p].lock, NULL);
        pthread_cond_init(&lanes[p].not_empty, NULL);
        pthread_cond_init(&lanes[p].not_full, NULL);
        lanes[p].seed = (uint64_t)p + 5;
        ids[2 * p] = thread_start(producer, &lanes[p]);
        ids[2 * p + 1] = thread_start(consumer, &lanes[p]);
    }
    for (int i = 0; i < 2 * pairs; i++) pthread_join(ids[i], NULL);
    for (int p = 0; p < pairs; p++) sum += lanes[p].sum;
    printf("%llu\n", (unsigned long long)sum);
}
