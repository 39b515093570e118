// A signal handler frees a block that the program has freed.
// Promised: caught at the second call; the stack reaches through the handler to what it interrupted.
#include "victim.h"

static void *order;

static void on_signal(int number) {
    (void)number;
    BUG(free(order));
}

static NOINLINE void ask(void) {
    raise(SIGUSR1);
}

int main(void) {
    order = filled(100);
    free(order);
    signal(SIGUSR1, on_signal);
    ask();
    return survived();
}
