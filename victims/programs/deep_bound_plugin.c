// The plugin of foreign_owners.c, loaded with RTLD_DEEPBIND: its malloc is glibc's own.
#include <stdlib.h>
#include <string.h>

void *plugin_malloc(size_t bytes) {
    return malloc(bytes);
}

char *plugin_strdup(const char *text) {
    return strdup(text);
}
