// The program frees the buffer of getline and hands it in again: libc reallocates it.
// Promised: caught at libc's realloc; the stack reaches through libc to the program's call.
#include "victim.h"

static NOINLINE void read_order(FILE *orders, char **line, size_t *bytes) {
    require(getline(line, bytes, orders) == 301, "a line of 300 letters");
}

int main(void) {
    char text[302];
    memset(text, 'x', 300);
    strcpy(text + 300, "\n");
    FILE *orders = fmemopen(text, 301, "r");
    char *line = filled(120);
    size_t bytes = 120;
    BUG(free(line));
    read_order(orders, &line, &bytes);
    require(memcmp(line, text, 302) == 0, "the line is read whole");
    free(line);
    fclose(orders);
    return survived();
}
