// The program clears its environment, then starts itself by system(), and again by popen(), to free a block twice.
// Promised: caught in both; the heap is inherited although LD_PRELOAD is not, and the program's own environment stays empty.
#include "victim.h"

static NOINLINE void free_twice(void *order) {
    free(order);
    BUG(free(order));
}

// The child's way to end is this program's: a shell may tell its signal by its status.
static void end_as(int status) {
    if (WIFSIGNALED(status))
        raise(WTERMSIG(status));
    if (WEXITSTATUS(status) > 128)
        raise(WEXITSTATUS(status) - 128);
    require(status == 0 && getenv("LD_PRELOAD") == NULL, "the child ends well, and the environment is still empty");
}

int main(int argc, char **argv) {
    char command[4096];
    if (argc > 1) {
        free_twice(filled(100));
        return 0;
    }
    clearenv();
    snprintf(command, sizeof command, "'%s' again", argv[0]);
    end_as(system(command));
    FILE *pipe = popen(command, "r");
    require(pipe != NULL, "a pipe");
    end_as(pclose(pipe));
    return survived();
}
