/* Blocks that are held in odd places, or by odd threads; nothing is lost. The argument says where. */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The least that the kernel takes; glibc asks for more by its name. */
enum { PAGE = 4096, LEAST_BYTES = 2048 };

static struct {
    char before[16384];
    void *volatile held[16];
    char stack[65536] __attribute__((aligned(16)));
} together;

static void *volatile *volatile pages;

static void *volatile *mapped(int kind) {
    pages = mmap(NULL, 4096, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    return pages;
}

static void leave(int signal) { exit(0); }

/* The first thread's stack is gone when this ends the process. */
static void *last(void *unused) {
    usleep(50000);
    puts("well");
    exit(0);
}

static void *with_small_stack(void *unused) {
    sigaltstack(&(stack_t){.ss_sp = together.stack, .ss_size = LEAST_BYTES}, NULL);
    for (;;) pause();
}

/* A page behind one that can't be written to. */
static char *guarded_page(void) {
    char *start = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(start, PAGE, PROT_NONE);
    return start + PAGE;
}

static void *with_bare_small_stack(void *unused) {
    stack_t stack = {.ss_sp = guarded_page(), .ss_size = LEAST_BYTES};
    syscall(SYS_sigaltstack, &stack, NULL);
    for (;;) pause();
}

/* Little room where it runs, and much for signals. */
static void *with_small_coroutine(void *unused) {
    char *little = guarded_page() + 512;
    sigaltstack(&(stack_t){.ss_sp = together.stack, .ss_size = sizeof together.stack}, NULL);
    __asm__ volatile("mov %0, %%rsp\n1: mov %1, %%eax\nsyscall\njmp 1b" : : "r"(little), "i"(SYS_pause) : "memory");
    return NULL;
}

/* Nobody but its caller has a use for registers that a call preserves, so they hold what they held there. */
__attribute__((noinline, noclone)) static void leave_if(int is_wanted) {
    if (is_wanted) leave(0);
    __asm__ volatile("");
}

__attribute__((noinline, noclone)) static void hold_in_a_register(int is_wanted) {
    char *held = malloc(70);
    *held = 0;
    puts("well");
    leave_if(is_wanted);
    puts(held);
}

static void stay(int signal) {
    for (;;) pause();
}

/* Handles a signal on an array of its caller's frame, which lies above its own. */
__attribute__((noinline, noclone)) static void hold_below(char *stack, size_t bytes, void (*handler)(int)) {
    void *volatile held[16];
    for (int i = 0; i < 16; i++) held[i] = malloc(100 + i);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = bytes}, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK}, NULL);
    raise(SIGUSR1);
    puts(held[3]);
}

static void *with_array(void *handler) {
    char stack[65536];
    hold_below(stack, sizeof stack, (void (*)(int))handler);
    return stack[9] ? NULL : handler;
}

/* A stack in the upper half of a mapping behind a guard, and blocks that the lower half leads to. */
static void give_half_a_mapping(pthread_t *thread) {
    enum { GUARD = 4096, HALF = 1 << 19 };
    char *start = mmap(NULL, GUARD + 2 * HALF, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(start + GUARD, 2 * HALF, PROT_READ | PROT_WRITE);
    void *volatile *held = (void *)(start + GUARD);
    for (int i = 0; i < 16; i++) held[i] = malloc(100 + i);
    pthread_attr_t half;
    pthread_attr_init(&half);
    pthread_attr_setstack(&half, start + GUARD + HALF, HALF);
    pthread_create(thread, &half, (void *(*)(void *))stay, NULL);
    usleep(50000);
}

int main(int argc, char **argv) {
    const char *where = argv[1];
    pthread_t thread;
    if (!strcmp(where, "below a signal's stack")) {
        for (int i = 0; i < 16; i++) together.held[i] = malloc(100 + i);
        sigaltstack(&(stack_t){.ss_sp = together.stack, .ss_size = sizeof together.stack}, NULL);
        struct sigaction action = {.sa_handler = leave, .sa_flags = SA_ONSTACK};
        sigaction(SIGUSR1, &action, NULL);
        puts("well");
        raise(SIGUSR1);
    }
    if (!strcmp(where, "a register")) hold_in_a_register(argc);
    if (!strcmp(where, "below an array for signals")) {
        puts("well");
        fflush(stdout);
        with_array((void *)leave);
    }
    if (!strcmp(where, "below a thread's array for signals")) {
        pthread_create(&thread, NULL, with_array, (void *)stay);
        usleep(50000);
    }
    if (!strcmp(where, "below a stack in the same mapping")) give_half_a_mapping(&thread);
    if (!strcmp(where, "shared memory")) mapped(MAP_SHARED)[1] = malloc(70);
    if (!strcmp(where, "sealed memory")) {
        mapped(MAP_PRIVATE)[1] = malloc(70);
        mprotect((void *)pages, 4096, PROT_READ);
    }
    if (!strcmp(where, "after the first thread")) {
        together.held[0] = malloc(70);
        pthread_create(&thread, NULL, last, NULL);
        pthread_exit(NULL);
    }
    if (!strcmp(where, "a small stack for signals")) {
        pthread_create(&thread, NULL, with_small_stack, NULL);
        usleep(50000);
    }
    if (!strcmp(where, "a small stack for signals by a bare call")) {
        pthread_create(&thread, NULL, with_bare_small_stack, NULL);
        usleep(50000);
    }
    if (!strcmp(where, "a small stack of a coroutine")) {
        sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
        sigaltstack(&(stack_t){.ss_sp = together.stack, .ss_size = 16}, NULL);
        pthread_create(&thread, NULL, with_small_coroutine, NULL);
        usleep(50000);
    }
    if (!strcmp(where, "pages of a file descriptor")) {
        int file = syscall(SYS_userfaultfd, 1);
        struct uffdio_api api = {.api = UFFD_API};
        if (file >= 0 && !ioctl(file, UFFDIO_API, &api)) {
            struct uffdio_register range = {.range = {(unsigned long)mapped(MAP_PRIVATE), 4096}};
            range.mode = UFFDIO_REGISTER_MODE_MISSING;
            ioctl(file, UFFDIO_REGISTER, &range);
        }
    }
    if (!strcmp(where, "a huge reservation")) {
        char *start = mmap(NULL, 1L << 38, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start != MAP_FAILED) *(void *volatile *)(start + (1L << 37)) = malloc(70);
    }
    puts("well");
    return 0;
}
