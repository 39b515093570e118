// What a pair of malloc and free costs, at best: one block at a time, and a thousand at a time.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double pair(int at_once) {
    enum { PAIRS = 100000 };
    static char *blocks[1000];
    double best = 1e9;
    for (int round = 0; round < 9; round++) {
        double start = seconds();
        for (int done = 0; done < PAIRS; done += at_once) {
            for (int i = 0; i < at_once; i++) {
                blocks[i] = malloc(40);
                *(volatile char *)blocks[i] = 1;
            }
            for (int i = 0; i < at_once; i++)
                free(blocks[i]);
        }
        double each = (seconds() - start) / PAIRS * 1e9;
        if (each < best)
            best = each;
    }
    return best;
}

int main(void) {
    printf("%.0f ns a pair, %.0f in thousands\n", pair(1), pair(1000));
    return 0;
}
