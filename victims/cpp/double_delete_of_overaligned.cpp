// An object with an alignment of 128 bytes is deleted twice.
// Promised: caught at the second delete.
#include "victim.h"

struct alignas(128) Order {
    long count = 3, price = 4;
};

static NOINLINE void settle(Order *order) {
    delete order;
    BUG(delete order);
}

int main() {
    settle(static_cast<Order *>(hide(new Order)));
    return survived();
}
