// A chain of forks, each from the child of the one before: the heap of a child is as good as its parent's,
// and blocks that a parent allocated can be freed, resized and read in every descendant.
#include "program.h"

static void generation(int depth, void **blocks) {
    for (int i = 0; i < 200; i++) {
        REQUIRE(holds(blocks[i], 50 + i, i), "generation %d has its parent's blocks", depth);
        free(blocks[i]);
        blocks[i] = malloc(50 + i);
        fill(blocks[i], 50 + i, i);
    }
    if (depth == 20)
        return;
    pid_t pid = fork();
    REQUIRE(pid >= 0, "fork");
    if (pid == 0) {
        generation(depth + 1, blocks);
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    REQUIRE(status == 0, "status of generation %d is %#x", depth + 1, status);
    for (int i = 0; i < 200; i++)
        REQUIRE(holds(blocks[i], 50 + i, i), "a child does not write to its parent's blocks");
}

int main(void) {
    void *blocks[200];
    for (int i = 0; i < 200; i++) {
        blocks[i] = malloc(50 + i);
        fill(blocks[i], 50 + i, i);
    }
    generation(0, blocks);
    for (int i = 0; i < 200; i++)
        free(blocks[i]);
    return done();
}
