// A signal handler that runs on a stack of its own (8 KiB and what the frame needs) frees a freed block.
// Promised: caught at the second call.
#include "victim.h"
#include <sys/auxv.h>

static void *order;

static void on_signal(int number) {
    (void)number;
    BUG(free(order));
}

int main(void) {
    order = filled(100);
    free(order);
    size_t bytes = 8192 + getauxval(AT_MINSIGSTKSZ);
    stack_t stack = {.ss_sp = malloc(bytes), .ss_size = bytes};
    require(sigaltstack(&stack, NULL) == 0, "an alternate stack");
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    return survived();
}
