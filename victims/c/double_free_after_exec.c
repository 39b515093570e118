// The program replaces itself by exec and frees a block twice in its second life.
// Promised: caught; findings of all programs of a process reach the one summary.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(int argc, char **argv) {
    if (argc == 1) {
        char *arguments[] = {argv[0], "again", NULL};
        execv("/proc/self/exe", arguments);
        return 1;
    }
    free_twice(filled(100));
    return survived();
}
