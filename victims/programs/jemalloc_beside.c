// A program linked to jemalloc that uses its own interface (mallocx and so on) beside malloc, as Debian's redis
// does: with our malloc in front, blocks of mallocx reach free and realloc, and go to jemalloc.
#include "program.h"
#include <jemalloc/jemalloc.h>

int main(void) {
    for (size_t bytes = 1; bytes < (4 << 20); bytes = bytes * 3 + 1) {
        void *block = mallocx(bytes, 0);
        REQUIRE(block != NULL, "mallocx");
        fill(block, bytes, 3);
        REQUIRE(malloc_usable_size(block) >= bytes, "usable size %zu of %zu", malloc_usable_size(block), bytes);
        free(hide(block));
        block = mallocx(bytes, MALLOCX_ALIGN(64));
        fill(block, bytes, 4);
        block = realloc(hide(block), bytes * 2 + 10);
        REQUIRE(block != NULL && holds(block, bytes < 50 ? bytes : 50, 4), "realloc of jemalloc's block");
        free(hide(block));
        block = mallocx(bytes, 0);
        REQUIRE(sallocx(block, 0) >= bytes, "sallocx");
        dallocx(block, 0);
    }
    size_t allocated, size = sizeof allocated;
    REQUIRE(mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0, "mallctl");
    return done();
}
