/* Says which allocator it really runs on: the objects that hold the `malloc` and the `free` it is bound to,
 * whether the first is mapped, and the version that the allocator gives of itself.
 *
 * One `key=value` a line: malloc, free, mapped, version. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *object_of(const char *symbol, char *resolved) {
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, symbol);
    if (!address || !dladdr(address, &info) || !info.dli_fname) return "?";
    return realpath(info.dli_fname, resolved) ? resolved : info.dli_fname;
}

static int is_mapped(const char *path) {
    char line[PATH_MAX + 200];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps) return 0;
    while (fgets(line, sizeof line, maps)) found |= strstr(line, path) != NULL;
    fclose(maps);
    return found;
}

static void print_version(void) {
    int (*mi_version)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "mi_version");
    const char *(*tc_version)(int *, int *, const char **) =
        (const char *(*)(int *, int *, const char **))dlsym(RTLD_DEFAULT, "tc_version");
    int (*mallctl)(const char *, void *, size_t *, void *, size_t) =
        (int (*)(const char *, void *, size_t *, void *, size_t))dlsym(RTLD_DEFAULT, "mallctl");
    const char *(*heapkeeper_version)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "heapkeeper_version");
    if (mi_version) {
        int v = mi_version(); /* 30302 is 3.3.2 */
        printf("version=mimalloc %d.%d.%d\n", v / 10000, v / 100 % 100, v % 100);
    } else if (tc_version) {
        printf("version=%s\n", tc_version(NULL, NULL, NULL));
    } else if (mallctl) {
        const char *text = "?";
        size_t bytes = sizeof text;
        mallctl("version", &text, &bytes, NULL, 0);
        printf("version=jemalloc %s\n", text);
    } else if (heapkeeper_version) {
        printf("version=%s\n", heapkeeper_version());
    } else if (strstr(object_of("malloc", (char[PATH_MAX]){0}), "libc.so")) {
        printf("version=glibc %s\n", gnu_get_libc_version());
    }
}

int main(void) {
    char path[PATH_MAX], other[PATH_MAX];
    const char *owner = object_of("malloc", path);
    printf("malloc=%s\nfree=%s\nmapped=%d\n", owner, object_of("free", other), is_mapped(owner));
    print_version();
    return 0;
}
