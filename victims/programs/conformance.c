// What the manual pages and glibc promise about results, errno and alignment.
#include "program.h"

static void sizes_and_alignment(void) {
    for (size_t bytes = 0; bytes < 70000; bytes += bytes < 3000 ? 1 : 97) {
        void *block = malloc(bytes);
        REQUIRE(block != NULL && ((uintptr_t)block & 15) == 0, "malloc(%zu) gives %p", bytes, block);
        size_t usable = malloc_usable_size(block);
        REQUIRE(usable >= bytes, "usable size of malloc(%zu) is %zu", bytes, usable);
        memset(block, 1, usable);
        free(block);
    }
    void *a = malloc(0), *b = malloc(0);
    REQUIRE(a != NULL && b != NULL && a != b, "malloc(0) gives a block of its own");
    free(a);
    free(b);
    free(NULL);
    REQUIRE(malloc_usable_size(NULL) == 0, "usable size of NULL");
}

static void aligned(void) {
    for (size_t alignment = 8; alignment <= (size_t)1 << 24; alignment *= 2) {
        for (size_t bytes = 0; bytes < 100000; bytes = bytes * 3 + 1) {
            void *p = NULL;
            REQUIRE(posix_memalign(&p, alignment, bytes) == 0 && ((uintptr_t)p & (alignment - 1)) == 0,
                    "posix_memalign(%zu, %zu) gives %p", alignment, bytes, p);
            fill(p, bytes, 1);
            void *q = memalign(alignment, bytes), *r = aligned_alloc(alignment, bytes);
            REQUIRE(q && r && (((uintptr_t)q | (uintptr_t)r) & (alignment - 1)) == 0, "memalign, aligned_alloc");
            fill(q, bytes, 2);
            fill(r, bytes, 3);
            REQUIRE(malloc_usable_size(q) >= bytes, "usable size");
            REQUIRE(holds(p, bytes, 1) && holds(q, bytes, 2) && holds(r, bytes, 3), "contents");
            p = realloc(p, bytes * 2 + 1);
            REQUIRE(p && holds(p, bytes < 50 ? bytes : 50, 1), "realloc of an aligned block");
            free(p);
            free(q);
            free(r);
        }
    }
    void *v = valloc(100), *w = pvalloc(5000);
    REQUIRE(v && w && (((uintptr_t)v | (uintptr_t)w) & 4095) == 0, "valloc and pvalloc");
    REQUIRE(malloc_usable_size(w) >= 8192, "pvalloc rounds up to pages: %zu", malloc_usable_size(w));
    free(v);
    free(w);
}

static void errors(void) {
    static const size_t huge[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4096, SIZE_MAX - 15};
    for (int i = 0; i < 5; i++) {
        size_t bytes = (size_t)(uintptr_t)hide((void *)huge[i]);
        errno = 0;
        REQUIRE(malloc(bytes) == NULL && errno == ENOMEM, "malloc(%zu): errno %d", bytes, errno);
        errno = 0;
        REQUIRE(calloc(bytes, 1) == NULL && errno == ENOMEM, "calloc(%zu, 1): errno %d", bytes, errno);
        void *block = malloc(100);
        fill(block, 100, 5);
        errno = 0;
        REQUIRE(realloc(block, bytes) == NULL && errno == ENOMEM, "realloc to %zu: errno %d", bytes, errno);
        REQUIRE(holds(block, 100, 5), "a block survives a realloc that failed");
        errno = 0;
        REQUIRE(memalign(64, bytes) == NULL && errno == ENOMEM, "memalign of %zu: errno %d", bytes, errno);
        errno = 0;
        REQUIRE(aligned_alloc(4096, bytes) == NULL && errno == ENOMEM, "aligned_alloc of %zu: errno %d", bytes, errno);
        errno = 0;
        REQUIRE(valloc(bytes) == NULL && errno == ENOMEM, "valloc of %zu: errno %d", bytes, errno);
        errno = 0;
        REQUIRE(pvalloc(bytes) == NULL && errno == ENOMEM, "pvalloc of %zu: errno %d", bytes, errno);
        void *unchanged = block;
        errno = 77;
        REQUIRE(posix_memalign(&unchanged, 64, bytes) == ENOMEM, "posix_memalign of %zu", bytes);
        REQUIRE(unchanged == block && errno == 77, "posix_memalign leaves the pointer and errno alone");
        free(block);
    }
    size_t half = (size_t)(uintptr_t)hide((void *)((uintptr_t)1 << 33));
    errno = 0;
    REQUIRE(calloc(half, half) == NULL && errno == ENOMEM, "calloc's overflow: errno %d", errno);
    void *block = malloc(100);
    fill(block, 100, 6);
    errno = 0;
    REQUIRE(reallocarray(block, half, half) == NULL && errno == ENOMEM, "reallocarray's overflow: errno %d", errno);
    REQUIRE(holds(block, 100, 6), "a block survives a reallocarray that failed");
    free(block);
    void *p = (void *)1;
    REQUIRE(posix_memalign(&p, 3, 100) == EINVAL && p == (void *)1, "posix_memalign: alignment 3");
    REQUIRE(posix_memalign(&p, 0, 100) == EINVAL, "posix_memalign: alignment 0");
    REQUIRE(posix_memalign(&p, 4, 100) == EINVAL, "posix_memalign: alignment 4 is less than a pointer");
    REQUIRE(posix_memalign(&p, 48, 100) == EINVAL, "posix_memalign: alignment 48");
    errno = 0;
    void *odd = memalign((size_t)(uintptr_t)hide((void *)((uintptr_t)SIZE_MAX / 2 + 2)), 100);
    REQUIRE(odd == NULL && (errno == EINVAL || errno == ENOMEM), "memalign: alignment too large: errno %d", errno);
    odd = memalign(48, 100); // glibc rounds up to a power of two
    REQUIRE(odd != NULL && ((uintptr_t)odd & 63) == 0, "memalign: alignment 48 is taken as 64");
    free(odd);
}

static void reallocs(void) {
    char *p = realloc(NULL, 100);
    REQUIRE(p != NULL, "realloc(NULL, n) is malloc");
    fill(p, 100, 7);
    REQUIRE(realloc(p, 0) == NULL, "realloc(p, 0) frees");
    p = realloc(NULL, 0);
    REQUIRE(p != NULL, "realloc(NULL, 0) is malloc(0)");
    free(p);
    p = reallocarray(NULL, 10, 10);
    REQUIRE(p != NULL, "reallocarray(NULL, ...)");
    free(p);
    size_t bytes = 1;
    unsigned char *grown = malloc(1);
    grown[0] = 1;
    while (bytes < (8 << 20)) {
        size_t next = bytes + bytes / 3 + 1;
        grown = realloc(grown, next);
        REQUIRE(grown != NULL, "realloc to %zu", next);
        for (size_t i = bytes; i < next; i++)
            grown[i] = (unsigned char)(i * 31 + 1);
        bytes = next;
    }
    for (size_t i = 0; i < bytes; i++)
        REQUIRE(grown[i] == (unsigned char)(i * 31 + 1), "byte %zu after growing", i);
    while (bytes > 1) {
        bytes = bytes * 2 / 3;
        grown = realloc(grown, bytes);
        REQUIRE(grown != NULL && grown[bytes - 1] == (unsigned char)((bytes - 1) * 31 + 1), "shrinking to %zu", bytes);
    }
    free(grown);
}

static void errno_is_left_alone(void) {
    errno = 123;
    for (size_t bytes = 1; bytes < (4 << 20); bytes = bytes * 2 + 3) {
        void *p = malloc(bytes), *q = calloc(1, bytes);
        p = realloc(p, bytes * 2);
        free(p);
        free(q);
        REQUIRE(errno == 123, "success leaves errno alone (%zu bytes): %d", bytes, errno);
    }
    malloc_trim(0);
    void *p = malloc(1 << 20);
    errno = 124;
    free(p);
    REQUIRE(errno == 124, "free leaves errno alone: %d", errno);
}

static void figures(void) {
    static void *blocks[1000];
    for (int i = 0; i < 1000; i++)
        blocks[i] = malloc(1000);
    struct mallinfo2 info = mallinfo2();
    REQUIRE(info.uordblks + info.hblkhd >= 1000000, "mallinfo2 counts what is in use: %zu", info.uordblks);
    struct mallinfo old = mallinfo();
    REQUIRE(old.uordblks + old.hblkhd >= 1000000, "mallinfo counts what is in use");
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    REQUIRE(malloc_info(0, file) == 0, "malloc_info");
    fclose(file);
    REQUIRE(strstr(text, "<malloc") && strstr(text, "</malloc>"), "malloc_info writes XML: %.60s", text);
    free(text);
    errno = 0;
    REQUIRE(malloc_info(1, stdout) != 0, "malloc_info knows no options");
    REQUIRE(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt");
    REQUIRE(malloc_trim(0) == 0 || malloc_trim(0) >= 0, "malloc_trim");
    for (int i = 0; i < 1000; i++)
        free(blocks[i]);
}

int main(void) {
    sizes_and_alignment();
    aligned();
    errors();
    reallocs();
    errno_is_left_alone();
    figures();
    return done();
}
