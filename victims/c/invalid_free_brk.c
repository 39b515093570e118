// The program frees memory that it got from sbrk.
// Promised: caught (CWE-590): no allocator knows a block there.
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    char *memory = sbrk(1 << 16);
    require(memory != (void *)-1, "memory from sbrk");
    memory = (char *)(((uintptr_t)memory + 15) & ~(uintptr_t)15);
    memset(memory, 0, 65520);
    drop(hide(memory + 4096));
    for (int i = 0; i < 65520; i++)
        require(memory[i] == 0, "memory from sbrk is unharmed");
    return survived();
}
