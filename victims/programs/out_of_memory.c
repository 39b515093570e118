// Allocates until there is no more (the limit is set from outside),
// gets a clean ENOMEM, gives everything back and goes on. All of it with blocks of the size given.
#include "program.h"

int main(int argc, char **argv) {
    size_t bytes = number(argc, argv, 1, 1 << 20), expected = (size_t)number(argc, argv, 2, 1) << 20;
    void *first = malloc(100);
    fill(first, 100, 1);
    for (int round = 0; round < 3; round++) {
        void **chain = NULL, **block;
        size_t total = 0;
        errno = 0;
        while (total < (size_t)64 << 30 && (block = malloc(bytes)) != NULL) {
            *block = chain;
            fill(block + 1, bytes - sizeof *block, 2);
            chain = block;
            total += bytes;
        }
        REQUIRE(total < (size_t)64 << 30, "there is an end");
        REQUIRE(errno == ENOMEM, "errno is %d", errno);
        REQUIRE(total >= expected, "round %d: only %zu KiB before the end", round, total >> 10);
        REQUIRE(calloc(1, (size_t)1 << 40) == NULL && errno == ENOMEM, "a request that can never be met");
        while (chain) {
            REQUIRE(holds(chain + 1, bytes - sizeof *chain, 2), "contents");
            void **next = *chain;
            free(chain);
            chain = next;
        }
        void *again = malloc(bytes);
        REQUIRE(again != NULL, "memory that was freed can be had again");
        free(again);
    }
    REQUIRE(holds(first, 100, 1), "the first block");
    free(first);
    return done();
}
