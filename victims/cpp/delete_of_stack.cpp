// A local object is deleted.
// Promised: caught (CWE-590).
#include "victim.h"

struct Order {
    long count = 3, price = 4;
};

static NOINLINE void settle(Order *order) {
    BUG(delete order);
}

int main() {
    alignas(16) Order order;
    settle(static_cast<Order *>(hide(&order)));
    require(order.count == 3 && order.price == 4, "the local object is unharmed");
    return survived();
}
