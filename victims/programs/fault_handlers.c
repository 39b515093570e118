// A program's own handlers of SIGSEGV: what it asks is answered, faults of its own come to it with its mask, its flags and its stack, and
// it may leave a handler by longjmp, mend the fault, or die of it.
#include "program.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf back;
static volatile sig_atomic_t seen;
static volatile sig_atomic_t seen_code, seen_blocked, seen_on_stack;
static void *volatile seen_address;
static char *closed_page;
static char small_stack[16384];

static int is_blocked(int number) {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, number);
}

static void jump(int number, siginfo_t *info, void *context) {
    (void)context;
    char here;
    seen++;
    seen_code = info->si_code;
    seen_address = info->si_addr;
    seen_blocked = is_blocked(SIGUSR1);
    seen_on_stack = &here >= small_stack && &here < small_stack + sizeof small_stack;
    REQUIRE(number == SIGSEGV, "signal %d", number);
    siglongjmp(back, 1);
}

static void mend(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen++;
    REQUIRE((char *)info->si_addr == closed_page + 5, "%p", info->si_addr);
    mprotect(closed_page, 4096, PROT_READ | PROT_WRITE);
}

static void count(int number) {
    (void)number;
    seen++;
}

static void touch(volatile char *place) { *place = 1; }

static struct sigaction set(void *handler, int flags) {
    struct sigaction action = {.sa_flags = flags}, old;
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGUSR1);
    REQUIRE(sigaction(SIGSEGV, &action, &old) == 0, "sigaction");
    struct sigaction now;
    REQUIRE(sigaction(SIGSEGV, NULL, &now) == 0, "sigaction");
    // The bit is glibc's own (SA_RESTORER).
    now.sa_flags &= ~0x4000000;
    REQUIRE((void *)now.sa_sigaction == handler && now.sa_flags == flags && sigismember(&now.sa_mask, SIGUSR1),
            "what was set: flags %x, is %x", flags, now.sa_flags);
    return old;
}

static void faults_come_to_the_handler(int flags) {
    seen = 0;
    set(jump, flags | SA_SIGINFO);
    for (int i = 0; i < 100; i++)
        if (!sigsetjmp(back, 1))
            touch(closed_page + i);
    REQUIRE(seen == 100, "%d of 100 faults", (int)seen);
    REQUIRE(seen_code == SEGV_ACCERR && seen_address == closed_page + 99, "code %d", (int)seen_code);
    REQUIRE(seen_blocked == 1, "the handler's mask");
    REQUIRE(!is_blocked(SIGUSR1), "the mask is as it was");
    REQUIRE(seen_on_stack == !!(flags & SA_ONSTACK), "its stack, flags %x", flags);
    if (!sigsetjmp(back, 1))
        touch(NULL);
    REQUIRE(seen == 101 && seen_code == SEGV_MAPERR && seen_address == NULL, "code %d", (int)seen_code);
}

static char *own_page;
static void mend_own(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    seen++;
    REQUIRE((char *)info->si_addr == own_page, "%p", info->si_addr);
    mprotect(own_page, 4096, PROT_READ | PROT_WRITE);
}

// A collector's write barrier: blocks of the heap that the program protects itself.
static void barriers_on_blocks(void) {
    set(mend_own, SA_SIGINFO);
    seen = 0;
    for (int i = 0; i < 20000; i++) {
        own_page = aligned_alloc(4096, 4096);
        own_page[0] = 1;
        int protection = i % 2 ? PROT_READ : PROT_NONE;
        REQUIRE(mprotect(own_page, 4096, protection) == 0, "mprotect of a block");
        touch(own_page);
        REQUIRE(seen == i + 1, "%d barriers of %d", (int)seen, i + 1);
        free(own_page);
    }
    // One stays protected up to the end.
    char *last = aligned_alloc(4096, 8192);
    mprotect(last, 4096, PROT_NONE);
}

static int death_of(void (*work)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        work();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void fault(void) { touch(closed_page); }
static void fault_by_default(void) {
    signal(SIGSEGV, SIG_DFL);
    touch(closed_page);
}
static void fault_ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    touch(closed_page);
}
static void raise_by_default(void) {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}
static void fault_twice_after_reset(void) {
    set(count, SA_RESETHAND);
    raise(SIGSEGV);
    REQUIRE(seen == 1, "the first comes to the handler");
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    REQUIRE(now.sa_handler == SIG_DFL, "then it is gone");
    touch(closed_page);
}
static void deep(volatile char *from) {
    volatile char room[4096];
    room[0] = *from;
    if (from)
        deep(room);
}
static void overflow(void) {
    char first = 0;
    setrlimit(RLIMIT_STACK, &(struct rlimit){1 << 20, 1 << 20});
    set(jump, SA_SIGINFO | SA_ONSTACK);
    if (!sigsetjmp(back, 1))
        deep(&first);
    _exit(seen == 1 && seen_on_stack ? 42 : 1);
}

static void *in_thread(void *arg) {
    (void)arg;
    // As servers do in threads that are to get no signals.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (int i = 0; i < 1000; i++)
        free(hide(malloc(i)));
    return NULL;
}

int main(void) {
    closed_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&(stack_t){.ss_sp = small_stack, .ss_size = sizeof small_stack}, NULL);
    struct sigaction before;
    sigaction(SIGSEGV, NULL, &before);
    REQUIRE(before.sa_handler == SIG_DFL, "nobody else's handler is seen");
    faults_come_to_the_handler(0);
    faults_come_to_the_handler(SA_ONSTACK);
    faults_come_to_the_handler(SA_NODEFER | SA_RESTART);
    seen = 0;
    set(mend, SA_SIGINFO);
    touch(closed_page + 5);
    REQUIRE(seen == 1 && closed_page[5] == 1, "a fault that is mended goes on");
    mprotect(closed_page, 4096, PROT_NONE);
    barriers_on_blocks();
    set(mend, SA_SIGINFO);
    REQUIRE(signal(SIGSEGV, count) == (void *)mend && signal(SIGSEGV, SIG_DFL) == count, "signal() answers too");
    seen = 0;
    REQUIRE(death_of(fault) == SIGSEGV, "death by a fault");
    REQUIRE(death_of(fault_by_default) == SIGSEGV, "by default");
    REQUIRE(death_of(fault_ignored) == SIGSEGV, "a fault cannot be ignored");
    REQUIRE(death_of(raise_by_default) == SIGSEGV, "a signal that is sent");
    REQUIRE(death_of(fault_twice_after_reset) == SIGSEGV, "a handler that is used once");
    REQUIRE(death_of(overflow) == -42, "an overflow of the stack, on the other stack");
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    for (int i = 0; i < 1000; i++)
        free(hide(malloc(i)));
    puts("ok");
    return 0;
}
