// Handlers at exit, destructors and quick_exit allocate and free; the last line comes from the last of them
// and goes through a buffer that the program allocated.
#include "program.h"

static char *early, *late;

static void first_registered(void) {
    REQUIRE(holds(early, 1000, 1), "a block from before");
    free(early);
    late = malloc(70000);
    fill(late, 70000, 2);
}

static void with_status(int status, void *block) {
    REQUIRE(status == 0 && holds(block, 500, 3), "on_exit");
    free(block);
    for (int i = 0; i < 1000; i++)
        free(hide(malloc(i)));
}

__attribute__((destructor)) static void last(void) {
    REQUIRE(holds(late, 70000, 2), "a block made by a handler at exit");
    free(late);
    char *text = strdup("ok");
    puts(text);
    free(text);
}

int main(void) {
    early = malloc(1000);
    fill(early, 1000, 1);
    void *block = malloc(500);
    fill(block, 500, 3);
    atexit(first_registered);
    on_exit(with_status, block);
    setvbuf(stdout, malloc(5000), _IOFBF, 5000);
    return 0;
}
