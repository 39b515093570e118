// malloc and free are no cancellation points: a thread with a pending cancellation allocates to its end, well past where the heap
// grows, gives memory back and looks at the machine.
#include "program.h"

static volatile int finished;

static void *allocate(void *unused) {
    (void)unused;
    pthread_cancel(pthread_self());
    for (int round = 0; round < 3; round++) {
        enum { COUNT = 20000 };
        static void *blocks[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = malloc(16 + i * 41 % 28000 * (i % 4 == 0));
            REQUIRE(blocks[i] != NULL, "malloc");
        }
        for (size_t i = 0; i < COUNT; i++)
            free(blocks[i]);
        free(malloc(5 << 20));
        malloc_trim(0);
    }
    finished = 1;
    pthread_testcancel();
    return NULL;
}

int main(void) {
    pthread_t thread;
    void *result;
    REQUIRE(pthread_create(&thread, NULL, allocate, NULL) == 0, "thread");
    pthread_join(thread, &result);
    REQUIRE(finished, "the thread was cancelled in malloc or free");
    REQUIRE(result == PTHREAD_CANCELED, "the thread was cancelled afterwards");
    return done();
}
