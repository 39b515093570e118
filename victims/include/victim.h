// What every victim shares: a macro for the bug, blocks whose contents can be checked, and the last line.
//
// BUG(statement) is the bug, and nothing in the twin (compiled with -DTWIN). hide() makes the compiler
// forget where a pointer came from; otherwise it deletes malloc/free pairs, or warns the bug away.
#ifndef VICTIM_H
#define VICTIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef TWIN
#define BUG(...) ((void)0)
#else
#define BUG(...) __VA_ARGS__
#endif

#define NOINLINE __attribute__((noinline, noclone))
#define INLINE __attribute__((always_inline)) static inline

static inline void *hide(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static inline unsigned char pattern(size_t i, size_t seed) {
    return (unsigned char)(i * 31 + seed * 7 + 1);
}

static inline void fill(void *block, size_t bytes, size_t seed) {
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)block)[i] = pattern(i, seed);
}

// Ends the program when the contents are not those of fill().
static inline void intact(const void *block, size_t bytes, size_t seed, const char *what) {
    for (size_t i = 0; i < bytes; i++) {
        if (((const unsigned char *)block)[i] != pattern(i, seed)) {
            printf("damaged: byte %zu of %s\n", i, what);
            fflush(stdout);
            _exit(3);
        }
    }
}

static inline void require(int holds, const char *what) {
    if (!holds) {
        printf("not so: %s\n", what);
        fflush(stdout);
        _exit(4);
    }
}

// Waits for a child, and ends as it ended if a signal stopped it.
static inline void ends_well(pid_t child) {
    int status;
    require(waitpid(child, &status, 0) == child, "the child ends");
    if (!WIFEXITED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    require(WEXITSTATUS(status) == 0, "the child ends well");
}

// A block with contents.
static inline void *filled(size_t bytes) {
    void *block = hide(malloc(bytes));
    require(block != NULL, "malloc gives memory");
    fill(block, bytes, 0);
    return hide(block);
}

// Takes many blocks of one size: none may overlap another, as it would if a block were handed out twice.
static NOINLINE void blocks_are_apart(size_t bytes, size_t count) {
    void **blocks = (void **)calloc(count, sizeof *blocks);
    require(blocks != NULL, "calloc gives memory");
    for (size_t i = 0; i < count; i++) {
        blocks[i] = hide(malloc(bytes));
        require(blocks[i] != NULL, "malloc gives memory");
        fill(blocks[i], bytes, i + 1);
    }
    for (size_t i = 0; i < count; i++)
        intact(blocks[i], bytes, i + 1, "a block taken after the bug");
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    free(blocks);
}

// The heap still works: small, middle and large blocks.
static NOINLINE void heap_is_sound(void) {
    static const size_t sizes[] = {8, 24, 100, 1000, 5000, 40000, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        blocks_are_apart(sizes[i], sizes[i] > 10000 ? 8 : 300);
}

// The last line of every victim; what `return` in main gets.
static NOINLINE int survived(void) {
    heap_is_sound();
    puts("survived");
    fflush(stdout);
    return 0;
}
#endif
