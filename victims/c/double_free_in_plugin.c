// A library that was loaded by dlopen frees a block twice and is unloaded again. (The BUG is
// in plugin_settles_twice.c.)
// Promised: caught, and named with the plugin's own functions and lines although it is gone at the end.
#include "victim.h"
#include <dlfcn.h>

static NOINLINE void use_plugin(void *plugin) {
    void (*settle)(void *) = (void (*)(void *))dlsym(plugin, "plugin_settle");
    require(settle != NULL, "the plugin has its function");
    settle(filled(100));
}

int main(void) {
    void *plugin = dlopen("libplugin_settles_twice.so", RTLD_NOW);
    require(plugin != NULL, "the plugin loads");
    use_plugin(plugin);
    dlclose(plugin);
    return survived();
}
