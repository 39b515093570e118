/* Buffers that grow by realloc: text appended piece by piece (steps of 48 bytes to 20 KiB), vectors that
 * grow by half up to 2 MiB, and a few that shrink to fit at their end. */
#include "common.h"

static unsigned char *append(unsigned char *buffer, size_t *bytes, size_t more) {
    buffer = must(realloc(buffer, *bytes + more));
    memset(buffer + *bytes, (int)more & 0xff, more);
    *bytes += more;
    return buffer;
}

int main(void) {
    enum { TEXTS = 64, TEXT_ROUNDS = 7000000, VECTORS = 1500 };
    static unsigned char *texts[TEXTS];
    static size_t text_bytes[TEXTS];
    rng_t rng = {9};
    uint64_t sum = 0;
    for (int i = 0; i < TEXT_ROUNDS; i++) {
        uint32_t t = rng_below(&rng, TEXTS);
        texts[t] = append(texts[t], &text_bytes[t], 8 + rng_below(&rng, 40));
        if (text_bytes[t] > 20000) {
            sum += texts[t][text_bytes[t] / 2];
            free(texts[t]);
            texts[t] = NULL;
            text_bytes[t] = 0;
        }
    }
    for (int v = 0; v < VECTORS; v++) {
        size_t bytes = 64;
        unsigned char *vector = block_new(bytes);
        while (bytes < (2u << 20) >> (v % 4)) {
            size_t grown = bytes + bytes / 2;
            vector = must(realloc(vector, grown));
            touch_pages(vector + bytes, grown - bytes);
            bytes = grown;
        }
        vector = must(realloc(vector, bytes / 3));
        sum += vector[0];
        free(vector);
    }
    printf("%llu\n", (unsigned long long)sum);
}
