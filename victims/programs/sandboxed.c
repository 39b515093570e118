// A process forbids itself to open files, as sandboxes do, and is killed if it tries: malloc must not try for it.
#include "program.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define KILL_ON(number)                                                                                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

int main(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), // the system call's number
        KILL_ON(SYS_open),
        KILL_ON(SYS_openat),
        KILL_ON(SYS_clone),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    free(hide(malloc(100)));
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77; // No seccomp here.
    enum { COUNT = 40000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = malloc(16 + i * 41 % 6000);
        REQUIRE(blocks[i] != NULL, "malloc");
    }
    for (size_t i = 0; i < COUNT; i++)
        free(blocks[i]);
    malloc_trim(0);
    static const char ok[] = "ok\n";
    REQUIRE(write(1, ok, sizeof ok - 1) == sizeof ok - 1, "write");
    return 0;
}
