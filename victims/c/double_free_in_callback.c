// A comparison function that qsort of libc calls frees a freed block.
// Promised: caught; the stack reaches through libc, which has no frame pointers, to the program's call.
#include "victim.h"

static void *order;

static int compare(const void *left, const void *right) {
    if (order)
        BUG(free(order));
    order = NULL;
    return *(const int *)left - *(const int *)right;
}

static NOINLINE void sort(int *numbers) {
    qsort(numbers, 3, sizeof *numbers, compare);
    hide(numbers);
}

int main(void) {
    int numbers[] = {3, 1, 2};
    order = filled(100);
    free(order);
    sort(numbers);
    require(numbers[0] == 1 && numbers[2] == 3, "the numbers are sorted");
    return survived();
}
