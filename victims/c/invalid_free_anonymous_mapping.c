// The program frees memory that it got from mmap.
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(memory != MAP_FAILED, "an anonymous mapping");
    fill(memory, 1 << 20, 0);
    drop(hide(memory + 4096));
    intact(memory, 1 << 20, 0, "the anonymous mapping");
    return survived();
}
