// The program frees the address of a mapped file (its own binary).
// Promised: caught (CWE-590), and the file is named.
#include "victim.h"
#include <fcntl.h>

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    int descriptor = open("/proc/self/exe", O_RDONLY);
    char *file = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, descriptor, 0);
    require(file != MAP_FAILED, "a mapped file");
    drop(hide(file + 64));
    require(memcmp(file, "\177ELF", 4) == 0, "the mapped file is unharmed");
    return survived();
}
