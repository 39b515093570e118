// Tens of thousands of threads that live shortly, each with some blocks of its own and one that another
// frees: resident memory after the last is not above that after the first thousand (and a bound).
#include "program.h"

static void *clerk(void *given) {
    void *blocks[50];
    for (int i = 0; i < 50; i++) {
        blocks[i] = malloc(16 + i * 40);
        fill(blocks[i], 16 + i * 40, i);
    }
    for (int i = 0; i < 50; i++) {
        REQUIRE(holds(blocks[i], 16 + i * 40, i), "contents");
        free(blocks[i]);
    }
    free(given);
    void *left = malloc(128);
    fill(left, 128, 4);
    return left;
}

static void run(long count) {
    for (long i = 0; i < count; i += 4) {
        pthread_t threads[4];
        for (int j = 0; j < 4; j++)
            REQUIRE(pthread_create(&threads[j], NULL, clerk, malloc(64)) == 0, "a thread");
        for (int j = 0; j < 4; j++) {
            void *left;
            pthread_join(threads[j], &left);
            REQUIRE(holds(left, 128, 4), "a block of a thread that is gone");
            free(left);
        }
    }
}

int main(int argc, char **argv) {
    long count = number(argc, argv, 1, 20000);
    run(1000);
    size_t before = resident_bytes();
    run(count);
    size_t after = resident_bytes();
    printf("resident after 1000 threads %zu KiB, after %ld more %zu KiB\n", before >> 10, count, after >> 10);
    REQUIRE(after < before + (2 << 20), "short threads leave nothing behind");
    return done();
}
