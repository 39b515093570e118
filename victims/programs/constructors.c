// A library and the program itself allocate before main; the library's blocks are used and freed at exit.
#include "program.h"

extern void *library_block;
void library_check(void);
static char *own;

__attribute__((constructor)) static void before_main(void) {
    own = malloc(100);
    fill(own, 100, 9);
}

int main(void) {
    library_check();
    REQUIRE(strcmp(library_block, "made before main") == 0, "a constructor's block");
    REQUIRE(holds(own, 100, 9), "the program's own block");
    free(own);
    return done();
}
