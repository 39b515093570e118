/* Loses a block, and forbids itself one call that looking for it takes, of whichever thread: the argument says which. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ANY = -1, STOP_SIGNAL = 33 };

static const struct { const char *name; int number, argument, value; } CALLS[] = {
    {"gettid", SYS_gettid, 0, ANY},
    {"getpid", SYS_getpid, 0, ANY},
    {"rt_sigprocmask", SYS_rt_sigprocmask, 0, ANY},
    {"sigaltstack", SYS_sigaltstack, 0, ANY},
    {"rt_sigaction of its signal", SYS_rt_sigaction, 0, STOP_SIGNAL},
    {"futex to wake", SYS_futex, 1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG},
    {"openat of folders", SYS_openat, 2, O_DIRECTORY | O_CLOEXEC},
};

static void *wait_on(void *unused) {
    for (;;) usleep(1000000);
}

int main(int argc, char **argv) {
    pthread_t thread;
    pthread_create(&thread, NULL, wait_on, NULL);
    usleep(50000);
    void *volatile lost = malloc(70);
    lost = NULL;
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        if (strcmp(CALLS[i].name, argv[1])) continue;
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALLS[i].number, 0, 3),
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[CALLS[i].argument])),
            BPF_JUMP(BPF_JMP | (CALLS[i].value == ANY ? BPF_JGE : BPF_JEQ) | BPF_K,
                     CALLS[i].value == ANY ? 0 : CALLS[i].value, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof code / sizeof *code, code};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program)) return 9;
    }
    puts("well");
    return 0;
}
