// Accesses that the kernel makes for the program. It would answer EFAULT, or move fewer bytes than asked for,
// and a program that does not look at that goes on.
#include "access.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum number { READ, PREAD, READV, RECV, FREAD, WRITE, PWRITE, WRITEV, SEND, FWRITE };

static const struct access accesses[] = {
    {"read", 0, READ},   {"pread", 0, PREAD},   {"readv", 0, READV},   {"recv", 0, RECV}, {"fread", 0, FREAD},
    {"write", 0, WRITE}, {"pwrite", 0, PWRITE}, {"writev", 0, WRITEV}, {"send", 0, SEND},
    {"fwrite", 0, FWRITE}, {NULL, 0, 0},
};

// A file in memory with as many bytes as are moved, a stream over it, and two sockets, one of which has as
// many bytes to read.
static int file, sockets[2];
static FILE *stream;

OPAQUE static void bug_site(const struct range *range) {
    struct iovec part = {range->at, range->bytes};
    switch ((enum number)range->access->number) {
    case READ: sink = read(file, range->at, range->bytes); break;
    case PREAD: sink = pread(file, range->at, range->bytes, 0); break;
    case READV: sink = readv(file, &part, 1); break;
    case RECV: sink = recv(sockets[1], range->at, range->bytes, 0); break;
    case FREAD: sink = fread(range->at, 1, range->bytes, stream); break;
    case WRITE: sink = write(file, range->at, range->bytes); break;
    case PWRITE: sink = pwrite(file, range->at, range->bytes, 0); break;
    case WRITEV: sink = writev(file, &part, 1); break;
    case SEND: sink = send(sockets[0], range->at, range->bytes, 0); break;
    case FWRITE: sink = fwrite(range->at, 1, range->bytes, stream); break;
    }
    NOT_A_JUMP();
}

static void prepare(const struct range *range) {
    char *bytes = (char *)malloc(range->bytes);
    memset(bytes, 'd', range->bytes);
    file = memfd_create("known-bug", 0);
    if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0)
        refuse("no file or socket", CANNOT_BE_MADE);
    if (pwrite(file, bytes, range->bytes, 0) != (ssize_t)range->bytes)
        refuse("no file", CANNOT_BE_MADE);
    if (range->access->number == RECV && send(sockets[0], bytes, range->bytes, 0) < 0)
        refuse("no socket", CANNOT_BE_MADE);
    free(bytes);
    stream = fdopen(file, "r+");
}
