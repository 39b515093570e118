// The program starts itself by posix_spawn with an empty environment; the child frees a block twice.
// Promised: caught in the child.
#include "victim.h"
#include <spawn.h>

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

int main(int argc, char **argv) {
    if (argc == 1) {
        char *arguments[] = {argv[0], "again", NULL};
        char *environment[] = {NULL};
        pid_t child;
        require(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environment) == 0, "a child");
        int status;
        require(waitpid(child, &status, 0) == child, "the child ends");
        if (!WIFEXITED(status))
            raise(WTERMSIG(status));
        return WEXITSTATUS(status);
    }
    free_twice(filled(100));
    return survived();
}
