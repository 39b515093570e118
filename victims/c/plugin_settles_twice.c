// The plugin of double_free_in_plugin.c; not a program.
#include "victim.h"

static NOINLINE void release(void *order) {
    free(order);
    BUG(free(order));
}

void plugin_settle(void *order) {
    release(order);
    hide(order);
}
