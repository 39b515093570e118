// calloc gives zeros, also on memory that was used before, given back to the system, locked or trimmed.
#include "program.h"

static void dirty_and_check(size_t bytes, int count) {
    unsigned char **blocks = malloc(count * sizeof *blocks);
    for (int i = 0; i < count; i++) {
        blocks[i] = malloc(bytes);
        memset(blocks[i], 0xff, malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < count; i++)
        free(blocks[i]);
    for (int i = 0; i < count; i++) {
        blocks[i] = calloc(1, bytes);
        for (size_t j = 0; j < bytes; j++)
            REQUIRE(blocks[i][j] == 0, "byte %zu of calloc(1, %zu)", j, bytes);
        memset(blocks[i], 0xfe, bytes);
    }
    for (int i = 0; i < count; i++)
        free(blocks[i]);
    free(blocks);
}

int main(int argc, char **argv) {
    int lock = argc > 1 && strcmp(argv[1], "locked") == 0;
    for (int round = 0; round < 4; round++) {
        for (size_t bytes = 1; bytes < (2 << 20); bytes = bytes * 2 + bytes / 2 + 1)
            dirty_and_check(bytes, bytes > 100000 ? 6 : 200);
        if (round == 1)
            malloc_trim(0);
        if (round == 2)
            usleep(600000);
        if (round == 2 && lock)
            REQUIRE(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall");
    }
    return done();
}
