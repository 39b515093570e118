// A block is freed twice before main.
// Promised: caught at the second call.
#include "victim.h"

__attribute__((constructor)) static void open_book(void) {
    void *order = filled(100);
    free(order);
    BUG(free(order));
}

int main(void) {
    return survived();
}
