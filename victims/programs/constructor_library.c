// The library of constructors.c and dlopen_storm.c: allocates while it is loaded and unloaded.
#include "program.h"

static void *blocks[300];
void *library_block;

__attribute__((constructor(101))) static void early(void) {
    for (int i = 0; i < 300; i++) {
        blocks[i] = i % 3 ? malloc(i * 10) : calloc(i + 1, 10);
        REQUIRE(blocks[i] != NULL, "malloc in a constructor");
        if (i % 3)
            fill(blocks[i], i * 10, i);
    }
    for (int i = 1; i < 300; i += 3)
        blocks[i] = realloc(blocks[i], i * 20);
}

__attribute__((constructor)) static void late(void) {
    library_block = strdup("made before main");
}

__attribute__((destructor)) static void unload(void) {
    for (int i = 0; i < 300; i++) {
        REQUIRE(i % 3 == 0 || holds(blocks[i], i * 10, i) || i % 3 == 1, "contents until unloaded");
        free(blocks[i]);
    }
    free(library_block);
}

void library_check(void) {
    for (int i = 2; i < 300; i += 3)
        REQUIRE(holds(blocks[i], i * 10, i), "blocks of a constructor keep their contents");
}
