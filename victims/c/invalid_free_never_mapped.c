// The program frees an address at which no memory is mapped.
// Promised: caught (CWE-590); the address is not read.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *memory = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED, "an anonymous mapping");
    munmap(memory, 1 << 20);
    drop(hide(memory + 4096));
    return survived();
}
