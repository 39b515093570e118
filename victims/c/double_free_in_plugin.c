// A library that was loaded by dlopen frees a block twice and is unloaded again.
// Promised: caught, and named with the plugin's own functions and lines although it is gone at the end.
#include "victim.h"
#include <dlfcn.h>

static NOINLINE void use_plugin(void *plugin) {
    void (*settle)(void *) = (void (*)(void *))dlsym(plugin, "plugin_settle");
    require(settle != NULL, "the plugin has its function");
    settle(filled(100));
}

int main(void) {
#ifdef TWIN
    void *plugin = dlopen("libplugin_settles_twice.twin.so", RTLD_NOW);
#else
    void *plugin = dlopen("libplugin_settles_twice.so", RTLD_NOW);
#endif
    require(plugin != NULL, "the plugin loads");
    use_plugin(plugin);
    dlclose(plugin);
    return survived();
}
