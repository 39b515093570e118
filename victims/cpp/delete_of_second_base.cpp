// An object is deleted through its second base class, which has no virtual destructor.
// Promised: caught (CWE-761): the address lies inside the block.
#include "victim.h"

struct Order {
    long count = 3, price = 4;
};
struct Printable {
    long width = 80;
};
struct PrintableOrder : Order, Printable {};

static NOINLINE void settle(PrintableOrder *order, Printable *printable) {
#ifdef TWIN
    hide(printable);
    delete order;
#else
    hide(order);
    BUG(delete printable);
#endif
}

int main() {
    auto *order = static_cast<PrintableOrder *>(hide(new PrintableOrder));
    settle(order, order);
    return survived();
}
