// After a peak, memory goes back to the system: lazily while the program goes on allocating a little
// ("lazily"), or at once by malloc_trim ("trim").
#include "program.h"

enum { COUNT = 60000 };

int main(int argc, char **argv) {
    int trim = argc > 1 && strcmp(argv[1], "trim") == 0;
    static void *blocks[COUNT];
    size_t base = resident_bytes();
    for (int i = 0; i < COUNT; i++) {
        size_t bytes = i % 100 == 0 ? 200000 : i % 4 == 0 ? 6000 : 1500;
        blocks[i] = malloc(bytes);
        memset(blocks[i], 1, bytes);
    }
    size_t peak = resident_bytes() - base;
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    double start = seconds_now();
    if (trim) {
        REQUIRE(malloc_trim(0) == 1, "malloc_trim says that it gave memory back");
    } else {
        while (seconds_now() - start < 2.5) {
            for (int i = 0; i < 200; i++)
                free(hide(malloc(100 + i)));
            usleep(1000);
        }
    }
    size_t after = resident_bytes() > base ? resident_bytes() - base : 0;
    printf("above the start: at the peak %zu KiB, afterwards %zu KiB\n", peak >> 10, after >> 10);
    REQUIRE(after < peak / (trim ? 10 : 4), "memory goes back %s", trim ? "at once" : "lazily");
    return done();
}
