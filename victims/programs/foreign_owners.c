// Pointers that are glibc's own (from __libc_malloc, or from a plugin loaded with RTLD_DEEPBIND) are freed,
// resized and measured through the program's malloc: they go to their owner, without a finding.
#include "program.h"
#include <dlfcn.h>

void *__libc_malloc(size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static void round_trip(void *(*make)(size_t), size_t bytes) {
    void *block = make(bytes);
    REQUIRE(block != NULL, "a block of glibc's");
    fill(block, bytes, 3);
    size_t usable = malloc_usable_size(block);
    REQUIRE(usable >= bytes && usable < bytes + 8192, "usable size of glibc's %zu bytes: %zu", bytes, usable);
    free(hide(block));
    block = make(bytes);
    fill(block, bytes, 4);
    block = realloc(hide(block), bytes * 2 + 10);
    REQUIRE(block != NULL && holds(block, bytes < 50 ? bytes : 50, 4), "realloc of glibc's block");
    free(hide(block));
}

int main(void) {
    void *plugin = dlopen("libdeep_bound_plugin.so", RTLD_NOW | RTLD_DEEPBIND);
    REQUIRE(plugin != NULL, "%s", dlerror());
    void *(*plugin_malloc)(size_t) = (void *(*)(size_t))dlsym(plugin, "plugin_malloc");
    char *(*plugin_strdup)(const char *) = (char *(*)(const char *))dlsym(plugin, "plugin_strdup");
    for (size_t bytes = 1; bytes < (4 << 20); bytes = bytes * 3 + 1) {
        round_trip(plugin_malloc, bytes);
        round_trip(__libc_malloc, bytes);
    }
    for (int i = 0; i < 1000; i++) {
        char *text = plugin_strdup("from the plugin");
        REQUIRE(strcmp(text, "from the plugin") == 0, "its text");
        free(text);
    }
    void *aligned = __libc_memalign(4096, 100);
    free(hide(aligned));
    dlclose(plugin);
    return done();
}
