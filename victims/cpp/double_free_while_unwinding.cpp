// A destructor that runs because of an exception frees what was freed before the throw.
// Promised: caught; the exception still reaches its handler.
#include "victim.h"
#include <stdexcept>

struct Book {
    void *order = filled(100);
    NOINLINE ~Book() {
        BUG(free(order));
    }
};

static NOINLINE void work() {
    Book book;
    free(book.order);
    throw std::runtime_error("closed");
} // the book ends here

int main() {
    try {
        work();
    } catch (const std::runtime_error &error) {
        require(strcmp(error.what(), "closed") == 0, "the exception arrives");
        return survived();
    }
    return 5;
}
