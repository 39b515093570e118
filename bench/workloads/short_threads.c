/* Threads that come and go, two at a time: each makes 150 blocks, frees most of them and leaves some to the
 * main thread, which frees them after the join. */
#include "common.h"

enum { PAIRS = 5000, BLOCKS = 150, LEFT = 10 };
typedef struct { uint64_t seed; void *left[LEFT]; uint64_t sum; } job_t;

static void *short_life(void *argument) {
    job_t *job = argument;
    rng_t rng = {job->seed};
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) blocks[i] = block_new(16 + rng_below(&rng, 600));
    for (int i = 0; i < LEFT; i++) job->left[i] = blocks[i];
    for (int i = LEFT; i < BLOCKS; i++) job->sum += block_end(blocks[i]);
    return NULL;
}

int main(void) {
    uint64_t sum = 0;
    for (uint64_t p = 0; p < PAIRS; p++) {
        job_t jobs[2] = {{.seed = 2 * p + 11}, {.seed = 2 * p + 12}};
        pthread_t ids[2] = {thread_start(short_life, &jobs[0]), thread_start(short_life, &jobs[1])};
        for (int t = 0; t < 2; t++) {
            pthread_join(ids[t], NULL);
            sum += jobs[t].sum;
            for (int i = 0; i < LEFT; i++) sum += block_end(jobs[t].left[i]);
        }
    }
    printf("%llu\n", (unsigned long long)sum);
}
