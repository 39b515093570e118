// Libraries are loaded and unloaded 300 times while three threads allocate without pause; the library's
// constructors allocate under the loader's lock.
#include "program.h"
#include <dlfcn.h>

static atomic_int stop;

static void *busy(void *seed) {
    uint64_t state = (uintptr_t)seed + 5;
    while (!atomic_load(&stop)) {
        size_t bytes = random_next(&state) % 2000;
        void *block = malloc(bytes);
        fill(block, bytes, bytes);
        REQUIRE(holds(block, bytes, bytes), "contents");
        free(block);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, busy, (void *)i);
    for (long i = 0; i < number(argc, argv, 1, 300); i++) {
        void *library = dlopen("libconstructor_library.so", RTLD_NOW | RTLD_LOCAL);
        REQUIRE(library != NULL, "%s", dlerror());
        void (*check)(void) = (void (*)(void))dlsym(library, "library_check");
        REQUIRE(check != NULL, "its function");
        check();
        REQUIRE(dlopen("no-such-library.so", RTLD_NOW) == NULL && dlerror() != NULL, "an error text");
        REQUIRE(dlclose(library) == 0, "dlclose");
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return done();
}
