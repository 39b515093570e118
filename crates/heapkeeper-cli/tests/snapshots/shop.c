// Describes its own heap, line by line, as a snapshot of it would: the test makes one of that. With a number behind its name it has so many
// more connections.
#define _GNU_SOURCE
#include <execinfo.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SITE __attribute__((noinline))

struct session { char *name; struct session *next; };
struct conn { long id; struct session *session; char buffer[96]; };
struct entry { struct entry *next; long key, value; };
struct page { char text[1024]; };
struct cache { long hits; struct entry *head; };

static struct conn *conn_table[256];
static struct cache cache;
static struct page **pages;
struct session *last_session;

struct block { char *start; size_t bytes; int is_freed, frames, free_frames; void *stack[8], *free_stack[8]; };
static struct block blocks[4096];
static int count;

SITE static void *note(size_t bytes) {
    struct block *block = &blocks[count++];
    block->start = calloc(1, bytes);
    block->bytes = bytes;
    void *stack[9];
    block->frames = backtrace(stack, 9) - 1;
    memcpy(block->stack, stack + 1, sizeof block->stack);
    return block->start;
}
SITE static void note_free(void *start) {
    for (int i = 0; i < count; i++)
        if (blocks[i].start == start) {
            void *stack[9];
            blocks[i].is_freed = 1;
            blocks[i].free_frames = backtrace(stack, 9) - 1;
            memcpy(blocks[i].free_stack, stack + 1, sizeof blocks[i].free_stack);
        }
}

SITE static char *copy_name(const char *name) { char *copy = note(strlen(name) + 1); strcpy(copy, name); return copy; }
SITE static struct session *make_session(const char *name) {
    struct session *session = note(sizeof *session);
    session->name = copy_name(name);
    return session;
}
SITE static struct conn *make_conn(long id) {
    struct conn *conn = note(sizeof *conn);
    conn->id = id;
    conn->session = make_session("somebody");
    return conn;
}
SITE static void cache_put(long key) {
    struct entry *entry = note(sizeof *entry);
    entry->key = key;
    entry->next = cache.head;
    cache.head = entry;
}
SITE static void load_pages(int n) {
    pages = note(n * sizeof *pages);
    for (int i = 0; i < n; i++) pages[i] = note(sizeof **pages);
}
SITE static void close_session(struct conn *conn) { note_free(conn->session); }
SITE static void lose(void) {
    for (int i = 0; i < 3; i++) note(100);
    struct session *one = note(sizeof *one), *other = note(sizeof *other);
    one->next = other;
    other->next = one;
    one->name = copy_name("nobody");
}

static struct block *block_at(uintptr_t address) {
    for (int i = 0; i < count; i++)
        if (address - (uintptr_t)blocks[i].start < blocks[i].bytes) return &blocks[i];
    return NULL;
}
static void pointers(const char *what, void *start, size_t bytes) {
    for (size_t word = 0; word < bytes / sizeof(uintptr_t); word++) {
        struct block *target = block_at(((uintptr_t *)start)[word]);
        if (target) printf("%s %p %zu %p %d\n", what, start, word, (void *)target->start, target->is_freed);
    }
}
static void stack(const char *what, struct block *block, void **frames, int n) {
    printf("%s %p", what, (void *)block->start);
    for (int i = 0; i < n; i++) printf(" %p", frames[i]);
    printf("\n");
}
static int module(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD) continue;
        uintptr_t from = info->dlpi_addr + header->p_vaddr, to = from + header->p_memsz;
        if (from < start) start = from;
        if (to > end) end = to;
    }
    printf("module %#lx %#lx %#lx %s\n", start, end, (unsigned long)info->dlpi_addr, info->dlpi_name);
    return 0;
}

int main(int argc, char **argv) {
    int more = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < 20 + more; i++) conn_table[i] = make_conn(i);
    for (int i = 0; i < 1000; i++) cache_put(i);
    load_pages(100);
    last_session = conn_table[12]->session;
    close_session(conn_table[13]);
    lose();
    dl_iterate_phdr(module, NULL);
    printf("pid %d\n", getpid());
    pointers("root", conn_table, sizeof conn_table);
    pointers("root", &cache, sizeof cache);
    pointers("root", &pages, sizeof pages);
    pointers("root", &last_session, sizeof last_session);
    for (int i = 0; i < count; i++) {
        struct block *block = &blocks[i];
        printf("block %p %zu %d\n", (void *)block->start, block->bytes, block->is_freed);
        if (!block->is_freed) pointers("pointer", block->start, block->bytes);
        stack("allocated", block, block->stack, block->frames);
        if (block->is_freed) stack("freed", block, block->free_stack, block->free_frames);
    }
    return 0;
}
