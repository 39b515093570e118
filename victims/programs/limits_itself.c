// A program that limits its own address space can go on as without us: it still maps memory, starts threads,
// allocates below the limit, and reads back the limit that it set.
#include "program.h"

static void *clerk(void *unused) {
    for (int i = 0; i < 1000; i++)
        free(hide(malloc(i)));
    return unused;
}

int main(void) {
    struct rlimit limit = {(rlim_t)300 << 20, (rlim_t)300 << 20}, read_back;
    free(hide(malloc(100)));
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    REQUIRE(getrlimit(RLIMIT_AS, &read_back) == 0 && read_back.rlim_cur == limit.rlim_cur, "the limit is %zu",
            (size_t)read_back.rlim_cur);
    static char *blocks[500];
    for (int i = 0; i < 500; i++) {
        blocks[i] = malloc(100000);
        REQUIRE(blocks[i] != NULL, "50 MB below a limit of 300 MiB");
        fill(blocks[i], 100000, i);
    }
    void *memory = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED, "16 MiB by mmap below the limit: errno %d", errno);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, clerk, NULL) == 0, "a thread below the limit");
    pthread_join(thread, NULL);
    for (int i = 0; i < 500; i++) {
        REQUIRE(holds(blocks[i], 100000, i), "contents");
        free(blocks[i]);
    }
    return done();
}
