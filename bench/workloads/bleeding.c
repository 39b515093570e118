/* A server whose worker threads are replaced: each thread replaces random blocks of a table, then ends and
 * hands the table to a new thread, which frees what the dead one allocated.
 *
 *   bleeding THREADS */
#include "common.h"

enum { SLOTS = 5000, GENERATIONS = 160, ROUNDS = 100000 };
typedef struct { void *slots[SLOTS]; rng_t rng; uint64_t sum; } table_t;

static void *generation(void *argument) {
    table_t *table = argument;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t r = rng_next(&table->rng);
        void **slot = &table->slots[(r >> 32) % SLOTS];
        table->sum += block_end(*slot);
        *slot = block_new(10 + (r & 0xffff) % 490);
    }
    return NULL;
}

static void *lineage(void *argument) {
    table_t *table = argument;
    for (int i = 0; i < GENERATIONS; i++) pthread_join(thread_start(generation, table), NULL);
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    static table_t tables[16];
    pthread_t ids[16];
    uint64_t sum = 0;
    for (int t = 0; t < threads; t++) {
        tables[t].rng.state = (uint64_t)t + 3;
        for (int i = 0; i < SLOTS; i++) tables[t].slots[i] = block_new(10 + rng_below(&tables[t].rng, 490));
    }
    for (int t = 0; t < threads; t++) ids[t] = thread_start(lineage, &tables[t]);
    for (int t = 0; t < threads; t++) pthread_join(ids[t], NULL);
    for (int t = 0; t < threads; t++) {
        sum += tables[t].sum;
        for (int i = 0; i < SLOTS; i++) sum += block_end(tables[t].slots[i]);
    }
    printf("%llu\n", (unsigned long long)sum);
}
