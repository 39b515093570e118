// Buffers of system calls that are sound: more room is offered than there is and less comes, lengths are told that did not come (MSG_TRUNC),
// messages in parts, and bad addresses that the kernel refuses.
#include "program.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

int main(void) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0, "socketpair");
    char *small = malloc(24), *large = malloc(5000);
    fill(large, 5000, 1);
    for (int i = 0; i < 50; i++) {
        REQUIRE(send(ends[0], large, 20, 0) == 20, "send");
        // A program that knows its peer: at most 20 bytes come.
        REQUIRE(recv(ends[1], hide(small), 4096, 0) == 20, "recv");
        REQUIRE(memcmp(small, large, 20) == 0, "what came");
        REQUIRE(send(ends[0], large, 3000, 0) == 3000, "send");
        REQUIRE(recv(ends[1], small, 24, MSG_TRUNC) == 3000, "the length of what did not fit is told");
        struct iovec parts[2] = {{large, 10}, {large + 100, 14}};
        REQUIRE(writev(ends[0], parts, 2) == 24, "writev");
        struct iovec into[2] = {{small, 8}, {small + 8, 16}};
        struct msghdr message = {.msg_iov = into, .msg_iovlen = 2};
        REQUIRE(recvmsg(ends[1], &message, 0) == 24, "recvmsg");
        REQUIRE(memcmp(small, large, 10) == 0 && memcmp(small + 10, large + 100, 14) == 0, "in parts");
    }
    errno = 0;
    REQUIRE(sendmsg(ends[0], hide((void *)8), 0) == -1 && errno == EFAULT, "sendmsg of nothing: %d", errno);
    REQUIRE(readv(ends[1], hide((void *)8), 1) == -1 && errno == EFAULT, "readv into nothing: %d", errno);
    REQUIRE(write(ends[0], hide((void *)8), 100) == -1 && errno == EFAULT, "write of nothing: %d", errno);
    // A file that fits exactly: the last call offers room behind the block, and nothing comes.
    int file_ends[2];
    REQUIRE(pipe(file_ends) == 0 && write(file_ends[1], large, 4096) == 4096, "pipe");
    close(file_ends[1]);
    char *whole = malloc(4096);
    size_t filled = 0;
    for (ssize_t came; (came = read(file_ends[0], hide(whole + filled), 512)) != 0; filled += came)
        REQUIRE(came == 512, "read: %d", errno);
    REQUIRE(filled == 4096 && memcmp(whole, large, 4096) == 0, "the whole file");
    close(file_ends[0]);
    free(whole);
    int event = eventfd(7, 0);
    uint64_t *count = malloc(8);
    REQUIRE(read(event, count, 8) == 8 && *count == 7, "an eventfd");
    struct pollfd file = {ends[1], POLLIN, 0};
    sigset_t all;
    sigfillset(&all);
    REQUIRE(ppoll(&file, 1, &(struct timespec){0, 1000000}, &all) == 0, "ppoll");
    free(count);
    free(small);
    free(large);
    return done();
}
