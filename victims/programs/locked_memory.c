// mlockall locks what the program uses, not the heap's reserved addresses and tables.
#include "program.h"

int main(void) {
    void *first = malloc(100);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        puts("skipped: mlockall is not allowed here (RLIMIT_MEMLOCK)");
        return 77;
    }
    static void *blocks[10000];
    for (int i = 0; i < 10000; i++) {
        blocks[i] = malloc(1000);
        REQUIRE(blocks[i] != NULL, "malloc of locked memory");
        fill(blocks[i], 1000, i);
    }
    size_t resident = resident_bytes();
    REQUIRE(resident < (size_t)300 << 20, "%zu MiB resident for 10 MB", resident >> 20);
    for (int i = 0; i < 10000; i++) {
        REQUIRE(holds(blocks[i], 1000, i), "contents");
        free(blocks[i]);
    }
    malloc_trim(0);
    for (int i = 0; i < 1000; i++)
        free(hide(calloc(1, 100000)));
    free(first);
    return done();
}
