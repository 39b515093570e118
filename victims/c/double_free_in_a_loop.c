// The same line frees one block of each of seven sizes twice.
// Promised: every one caught; as it is one bug, it is one finding that counts its repeats.
#include "victim.h"

static NOINLINE void free_again(void *order) {
    free(order);
}

int main(void) {
    static const size_t sizes[] = {8, 24, 100, 1000, 5000, 40000, 1 << 20};
    for (size_t i = 0; i < 7; i++) {
        void *order = filled(sizes[i]);
        free(order);
        BUG(free_again(order));
    }
    return survived();
}
