// What the programs with known bugs share: their arguments, blocks that no compiler sees through, and
// threads.
//
//   PROGRAM CLASS HOW BYTES DISTANCE LIFE bug|twin
//
// The functions named alloc_site, free_site and bug_site are what a report's stacks must name. None of them
// may be inlined, cloned, or end in a jump to what it calls: then its frame would not be on the stack.
#ifndef KNOWN_BUG_H
#define KNOWN_BUG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What the programs end with, besides 0.
enum { BAD_ARGUMENTS = 64, CANNOT_BE_MADE = 77 };

#define OPAQUE __attribute__((noipa, used))
// After a call that would otherwise be the function's last act, so that it stays a call.
#define NOT_A_JUMP() __asm__ volatile("" ::: "memory")

static inline void *hide(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

// Where what was read goes.
static volatile unsigned long sink;

struct bug {
    const char *class_name, *how;
    size_t bytes, distance;
    const char *life;
    int is_twin;
};

static inline int is(const char *word, const char *other) {
    return strcmp(word, other) == 0;
}

static inline void refuse(const char *what, int status) {
    fprintf(stderr, "known bug: %s\n", what);
    _exit(status);
}

static inline struct bug arguments(int count, char **words) {
    if (count != 7)
        refuse("CLASS HOW BYTES DISTANCE LIFE bug|twin", BAD_ARGUMENTS);
    struct bug bug = {words[1], words[2], strtoul(words[3], NULL, 10), strtoul(words[4], NULL, 10), words[5],
                      is(words[6], "twin")};
    return bug;
}

// The function runs here, or in a thread of its own.
static inline void call(void *(*function)(void *), void *argument, int elsewhere) {
    if (!elsewhere) {
        function(argument);
        return;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, argument) != 0)
        refuse("no thread", CANNOT_BE_MADE);
    pthread_join(thread, NULL);
}

// Blocks come and go, so that a freed one of this size may be handed out again and freed again.
static OPAQUE void churn(size_t bytes) {
    void *held[50];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 50; i++)
            held[i] = hide(malloc(bytes));
        for (int i = 0; i < 50; i++)
            free(held[i]);
    }
}

#ifndef __cplusplus
// A block full of letters whose last wide character is zero: as text it is as long as can be.
static OPAQUE void *alloc_site(size_t bytes) {
    void *block = hide(malloc(bytes));
    if (block == NULL)
        refuse("no memory", CANNOT_BE_MADE);
    memset(block, 'a', bytes);
    return hide(block);
}

static OPAQUE void free_site(void *block) {
    free(block);
    NOT_A_JUMP();
}

static inline void *thread_that_frees(void *block) {
    free_site(block);
    return NULL;
}
#endif
#endif
