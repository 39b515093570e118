// A counted pointer whose assignment forgets to count: the last two holders both free the object.
// Promised: caught at the second delete.
#include "victim.h"

struct Order {
    long holders = 1, count = 3;
};

class Counted {
    Order *order;

  public:
    explicit Counted(Order *o) : order(o) {}
    Counted(const Counted &other) : order(other.order) {
#ifdef TWIN
        order->holders++;
#endif
    }
    NOINLINE ~Counted() {
        if (--order->holders <= 0)
            delete order; // BUG: a copy was not counted
    }
};

static NOINLINE void hold(Counted counted) {
    hide(&counted);
}

int main() {
    {
        Counted counted(static_cast<Order *>(hide(new Order)));
        hold(counted);
    } // the last holder ends here
    return survived();
}
