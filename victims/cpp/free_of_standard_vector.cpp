// The data of a vector are freed by hand; the vector's destructor frees them again.
// Promised: caught at the destructor, with the library's frames below.
#include "victim.h"
#include <vector>

static NOINLINE void total() {
    std::vector<long> orders = {1, 2, 3, 4};
    hide(orders.data());
    BUG(free(orders.data()));
} // the vector ends here

int main() {
    total();
    return survived();
}
