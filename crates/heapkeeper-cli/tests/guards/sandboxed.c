/* Puts itself into a sandbox and goes on to use memory there. Arguments: what happens to a call that is not allowed (kill, refuse), by which
   function the sandbox is set (prctl, syscall), what is allowed beside what glibc's malloc needs in one thread (nothing, advise, protect,
   strict: nothing but read, write and exit), and, if any, a bug. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BEFORE = 200, COUNT = 1000 };

static void fail(const char *why) {
    if (write(2, why, strlen(why)) < 0) { }
    syscall(SYS_exit_group, 9);
}

static void enter(int is_kill, int by_prctl, int extra) {
    int allowed[] = {SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_write, SYS_exit_group, extra};
    int denied = is_kill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    struct sock_filter code[32];
    int count = 0;
    code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, denied);
    struct sock_fprog program = {count, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs\n");
    int failed = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                          : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    if (failed) fail("seccomp\n");
}

static void enter_strict(int by_prctl) {
    int failed = by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)
                          : syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
    if (failed) fail("strict\n");
}

static void use_memory(void) {
    static char *kept[COUNT];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t bytes = 10 + i * i % 300000;
            kept[i] = malloc(bytes);
            if (!kept[i]) fail("no memory\n");
            memset(kept[i], round, bytes);
        }
        for (size_t i = 0; i < COUNT; i++) {
            kept[i] = realloc(kept[i], 50 + i * 7);
            if (!kept[i] || kept[i][9] != round) fail("other contents\n");
        }
        for (size_t i = 0; i < COUNT; i++) free(kept[i]);
        char *zeros = calloc(1, 100000);
        for (int i = 0; i < 100000; i++)
            if (zeros[i]) fail("not zero\n");
        free(zeros);
    }
}

int main(int argc, char **argv) {
    int is_strict = !strcmp(argv[3], "strict"), by_prctl = !strcmp(argv[2], "prctl");
    static char *before[BEFORE];
    for (int i = 0; i < BEFORE; i++) {
        before[i] = malloc(100 + i * 50);
        memset(before[i], i, 100 + i * 50);
    }
    if (is_strict) enter_strict(by_prctl);
    else {
        int extra = !strcmp(argv[3], "advise") ? SYS_madvise : !strcmp(argv[3], "protect") ? SYS_mprotect : SYS_write;
        enter(!strcmp(argv[1], "kill"), by_prctl, extra);
        use_memory();
    }
    for (int i = 0; i < BEFORE; i++) {
        if (before[i][99] != (char)i) fail("other contents of before\n");
        free(before[i]);
    }
    if (argc > 4) free(before[7]);
    if (write(1, "well\n", 5) != 5) fail("write\n");
    if (is_strict) syscall(SYS_exit, 0);
    exit(0);
}
