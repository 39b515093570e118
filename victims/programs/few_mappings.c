// However memory is cut up and given back, the process has few mappings: the kernel allows 65,530. Half of all
// blocks are freed, the others keep their contents; large blocks grow step by step.
#include "program.h"

enum { COUNT = 6000 };

static int mappings(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    int count = 0;
    for (int c; (c = getc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

int main(void) {
    static unsigned char *blocks[COUNT];
    int before = mappings();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            if (blocks[i])
                continue;
            blocks[i] = malloc(70000 + round * 10000);
            fill(blocks[i], 70000, i);
        }
        for (int i = round % 2; i < COUNT; i += 2) {
            REQUIRE(holds(blocks[i], 70000, i), "contents");
            free(blocks[i]);
            blocks[i] = NULL;
        }
        if (round == 1)
            malloc_trim(0);
        usleep(400000);
        free(malloc(100));
    }
    char *growing = NULL;
    for (size_t bytes = 1 << 20; bytes < (200 << 20); bytes += 1 << 20) {
        growing = realloc(growing, bytes);
        growing[bytes - 1] = 1;
    }
    free(growing);
    int after = mappings();
    printf("mappings: %d, afterwards %d\n", before, after);
    REQUIRE(after < before + 4000, "%d mappings", after);
    for (int i = 0; i < COUNT; i++) {
        REQUIRE(blocks[i] == NULL || holds(blocks[i], 70000, i), "contents");
        free(blocks[i]);
    }
    return done();
}
