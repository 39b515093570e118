// Takes the MiB given, in blocks of all sizes, twice over with everything freed in between.
#include "program.h"

int main(int argc, char **argv) {
    size_t target = (size_t)number(argc, argv, 1, 40) << 20;
    for (int round = 0; round < 2; round++) {
        void **chain = NULL;
        uint64_t state = 5 + round;
        for (size_t total = 0; total < target;) {
            size_t bytes = 16 + random_next(&state) % (random_next(&state) % 8 ? 1000 : 50000);
            void **block = malloc(bytes);
            REQUIRE(block != NULL, "%zu bytes after %zu KiB", bytes, total >> 10);
            memset(block, 1, bytes);
            *block = chain;
            chain = block;
            total += bytes;
        }
        while (chain) {
            void **next = *chain;
            free(chain);
            chain = next;
        }
    }
    return done();
}
