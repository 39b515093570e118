// The program replaces itself by exec with an empty environment and then frees a block twice.
// Promised: caught; the heap is inherited although LD_PRELOAD is not.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(int argc, char **argv) {
    if (argc == 1) {
        char *arguments[] = {argv[0], "again", NULL};
        char *environment[] = {NULL};
        execve("/proc/self/exe", arguments, environment);
        return 1;
    }
    free_twice(filled(100));
    return survived();
}
