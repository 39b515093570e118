/* The two fast paths bare, for counting instructions: COUNT blocks of one size are made, of several sizes one after the other,
 * and with `both` freed again, in the order in which they were made.
 *
 *   paths malloc|both COUNT */
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    static const size_t sizes[] = {16, 48, 112, 256, 1000};
    size_t count = argc > 2 ? (size_t)atol(argv[2]) : 1000;
    int frees = argc > 1 && strcmp(argv[1], "both") == 0;
    void **blocks = malloc(count * sizeof *blocks);
    if (!blocks) return 1;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = malloc(sizes[s]);
            __asm__ volatile("" : : "r"(blocks[i]) : "memory");
        }
        if (frees)
            for (size_t i = 0; i < count; i++) free(blocks[i]);
    }
    return 0;
}
