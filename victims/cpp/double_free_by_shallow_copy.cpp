// A struct that owns memory has a destructor, but no copy constructor: both copies free it.
// Promised: caught at the second destructor, which is named though it is inlined.
#include "victim.h"

struct Name {
    char *text;
    explicit Name(size_t bytes) : text(static_cast<char *>(filled(bytes))) {}
    __attribute__((always_inline)) ~Name() { free(text); }
};

static NOINLINE void print(Name name) {
    hide(name.text);
}

static NOINLINE void close_book() {
    Name name(40);
#ifdef TWIN
    hide(name.text);
#else
    BUG(print(name));
#endif
} // the owner of the memory ends here

int main() {
    close_book();
    return survived();
}
