// The program frees a number that can be no address on this machine (not canonical).
// Promised: caught (CWE-590).
#include "victim.h"

static NOINLINE void drop(void *o) {
    BUG(free(o));
}

int main(void) {
    drop(hide((void *)(uintptr_t)0xdeadbeefdeadbee0));
    return survived();
}
