// Loads and stores of the program itself, of every width.
#include "access.h"

// Types that may stand at any address, as the distances of 1 and 15 want it.
typedef uint16_t any2 __attribute__((aligned(1), may_alias));
typedef uint32_t any4 __attribute__((aligned(1), may_alias));
typedef uint64_t any8 __attribute__((aligned(1), may_alias));
typedef uint64_t any16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t any32 __attribute__((vector_size(32), aligned(1), may_alias));

enum { READ = 0, WRITE = 100 };

static const struct access accesses[] = {
    {"read1", 1, READ + 1},    {"read2", 2, READ + 2},     {"read4", 4, READ + 4},     {"read8", 8, READ + 8},
    {"read16", 16, READ + 16}, {"read32", 32, READ + 32},
    {"write1", 1, WRITE + 1},  {"write2", 2, WRITE + 2},     {"write4", 4, WRITE + 4},
    {"write8", 8, WRITE + 8},  {"write16", 16, WRITE + 16},  {"write32", 32, WRITE + 32},
    {NULL, 0, 0},
};

// A vector of which only one part is used is read only there, volatile or not.
#define load_whole(vector) __asm__ volatile("" : : "x"(vector))

// With AVX the vectors of 32 bytes are one access; programs that were built for it do just this.
__attribute__((target("avx"))) OPAQUE static void bug_site(const struct range *range) {
    void *at = range->at;
    switch (range->access->number) {
    case READ + 1: sink = *(volatile char *)at; break;
    case READ + 2: sink = *(volatile any2 *)at; break;
    case READ + 4: sink = *(volatile any4 *)at; break;
    case READ + 8: sink = *(volatile any8 *)at; break;
    case READ + 16: load_whole(*(volatile any16 *)at); break;
    case READ + 32: load_whole(*(volatile any32 *)at); break;
    case WRITE + 1: *(volatile char *)at = 'b'; break;
    case WRITE + 2: *(volatile any2 *)at = 0x6262; break;
    case WRITE + 4: *(volatile any4 *)at = 0x62626262; break;
    case WRITE + 8: *(volatile any8 *)at = 0x6262626262626262; break;
    case WRITE + 16: *(volatile any16 *)at = (any16){0x6262, 0x6262}; break;
    case WRITE + 32: *(volatile any32 *)at = (any32){0x6262, 0x6262, 0x6262, 0x6262}; break;
    }
    NOT_A_JUMP();
}

static void prepare(const struct range *range) {
    (void)range;
    if (!__builtin_cpu_supports("avx"))
        refuse("no AVX", CANNOT_BE_MADE);
}
