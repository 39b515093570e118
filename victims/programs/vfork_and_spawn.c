// vfork children that allocate before their exec, and posix_spawn, in a threaded program.
#include "program.h"
#include <spawn.h>

extern char **environ;
static atomic_int stop;

static void *busy(void *unused) {
    while (!atomic_load(&stop))
        free(hide(malloc(200)));
    return unused;
}

int main(int argc, char **argv) {
    if (argc > 1) {
        void *block = malloc(1000);
        fill(block, 1000, 1);
        return holds(block, 1000, 1) ? 42 : 1;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, busy, NULL);
    char *arguments[] = {argv[0], "child", NULL};
    void *kept[100];
    for (int i = 0; i < 100; i++) {
        volatile int round = i;
        pid_t pid = vfork();
        REQUIRE(pid >= 0, "vfork");
        if (pid == 0) { // shares the parent's memory and runs as its thread: what it keeps stays
            kept[round] = malloc(300);
            fill(kept[round], 300, round);
            free(hide(malloc(100)));
            execv("/proc/self/exe", arguments);
            _exit(99);
        }
        REQUIRE(holds(kept[i], 300, i), "a block that a vfork child made is its parent's");
        free(kept[i]);
        int status;
        waitpid(pid, &status, 0);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status of vfork child %d is %#x", i, status);
    }
    for (int i = 0; i < 100; i++) {
        pid_t pid;
        REQUIRE(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) == 0, "posix_spawn");
        int status;
        waitpid(pid, &status, 0);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 42, "status of spawned child %d is %#x", i, status);
        REQUIRE(posix_spawnp(&pid, "no-such-program-here", NULL, NULL, arguments, environ) == ENOENT, "its error");
    }
    FILE *pipe = popen("echo through a shell", "r");
    char line[100] = "";
    REQUIRE(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "through a shell\n") == 0, "popen: '%s'", line);
    REQUIRE(pclose(pipe) == 0 && system("exit 3") == 3 << 8, "pclose and system");
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    return done();
}
