// An array of objects with destructors is deleted as if it were one object: its count stands before it.
// Promised: caught (CWE-761): the address is 8 bytes into the block.
#include "victim.h"

struct Order {
    long count = 3;
    NOINLINE ~Order() { hide(this); }
};

static NOINLINE void settle(Order *orders) {
#ifdef TWIN
    delete[] orders;
#else
    BUG(delete orders);
#endif
}

int main() {
    settle(static_cast<Order *>(hide(new Order[5])));
    return survived();
}
