// An array is deleted twice.
// Promised: caught at the second delete.
#include "victim.h"

static NOINLINE void settle(int *orders) {
    delete[] orders;
    BUG(delete[] orders);
}

int main() {
    settle(static_cast<int *>(hide(new int[25]())));
    return survived();
}
