// Accesses that the C library makes for the program. Those that read text up to its end touch the whole range
// in the twin, and in a block that was freed; past a block they read as far as there is no zero.
#include "access.h"
#include <wchar.h>

enum number {
    MEMCPY_TO, MEMMOVE_TO, MEMSET, STRCPY, STRNCPY, STRCAT, SPRINTF, SNPRINTF,
    WMEMCPY_TO, WMEMSET, WCSCPY, WCSCAT,
    MEMCPY_FROM, MEMMOVE_FROM, MEMCHR, STRLEN, STRDUP, STRCHR, PRINT_TEXT, WMEMCPY_FROM, WCSLEN, QSORT,
};

static const struct access accesses[] = {
    {"memcpy-to", 0, MEMCPY_TO},       {"memmove-to", 0, MEMMOVE_TO},     {"memset", 0, MEMSET},
    {"strcpy", 0, STRCPY},             {"strncpy", 0, STRNCPY},           {"strcat", 0, STRCAT},
    {"sprintf", 0, SPRINTF},           {"snprintf", 0, SNPRINTF},         {"wmemcpy-to", 0, WMEMCPY_TO},
    {"wmemset", 0, WMEMSET},           {"wcscpy", 0, WCSCPY},             {"wcscat", 0, WCSCAT},
    {"memcpy-from", 0, MEMCPY_FROM},   {"memmove-from", 0, MEMMOVE_FROM}, {"memchr", 0, MEMCHR},
    {"strlen", 0, STRLEN},             {"strdup", 0, STRDUP},             {"strchr", 0, STRCHR},
    {"print-text", 0, PRINT_TEXT},     {"wmemcpy-from", 0, WMEMCPY_FROM}, {"wcslen", 0, WCSLEN},
    {"qsort", 0, QSORT},               {NULL, 0, 0},
};

// A sound block beside the bad one, to copy from and to: letters and a zero as the last (wide) character.
static char *other;
static size_t other_bytes;

// The larger letter first: qsort has to move what it compares.
static int compare(const void *left, const void *right) {
    return *(const char *)right - *(const char *)left;
}

OPAQUE static void bug_site(const struct range *range) {
    char *at = range->at;
    wchar_t *wide = (wchar_t *)at, *other_wide = (wchar_t *)other;
    size_t bytes = range->bytes, letters = bytes / sizeof(wchar_t);
    switch ((enum number)range->access->number) {
    case MEMCPY_TO: memcpy(at, other, bytes); break;
    case MEMMOVE_TO: memmove(at, other, bytes); break;
    case MEMSET: memset(at, 'b', bytes); break;
    case STRCPY: strcpy(at, other); break;
    case STRNCPY: strncpy(at, other, bytes); break;
    case STRCAT: at[0] = 0; strcat(at, other); break;
    case SPRINTF: sprintf(at, "%s", other); break;
    case SNPRINTF: snprintf(at, bytes, "%s", other); break;
    case WMEMCPY_TO: wmemcpy(wide, other_wide, letters); break;
    case WMEMSET: wmemset(wide, L'b', letters); break;
    case WCSCPY: wcscpy(wide, other_wide); break;
    case WCSCAT: wide[0] = 0; wcscat(wide, other_wide); break;
    case MEMCPY_FROM: memcpy(other, at, bytes); break;
    case MEMMOVE_FROM: memmove(other, at, bytes); break;
    case MEMCHR: sink = memchr(at, 'Z', bytes) != NULL; break;
    case STRLEN: sink = strlen(at); break;
    case STRDUP: free(hide(strdup(at))); break;
    case STRCHR: sink = strchr(at, 'Z') != NULL; break;
    case PRINT_TEXT: sink = snprintf(other, other_bytes, "%s", at); break;
    case WMEMCPY_FROM: wmemcpy(other_wide, wide, letters); break;
    case WCSLEN: sink = wcslen(wide); break;
    case QSORT: qsort(at, bytes, 1, compare); break;
    }
    NOT_A_JUMP();
}

static void prepare(const struct range *range) {
    other_bytes = range->bytes;
    other = (char *)hide(malloc(other_bytes));
    memset(other, 'c', other_bytes);
    enum number number = (enum number)range->access->number;
    if (number == WCSCPY || number == WCSCAT)
        end_text(other, other_bytes);
    other[other_bytes - 1] = 0;
}
