// Arguments that the system does not look at, which may be stale or of no bytes; and functions of a library's own under names of libc's.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

double own_functions(void);

static void *stale(size_t bytes) {
    void *volatile block = malloc(bytes);
    free(block);
    return block;
}

int main(void) {
    getgroups(0, malloc(0));
    int queue = epoll_create1(0), pipes[2];
    pipe(pipes);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(queue, EPOLL_CTL_ADD, pipes[0], &event);
    epoll_ctl(queue, EPOLL_CTL_DEL, pipes[0], stale(12));
    select(0, stale(128), NULL, NULL, &(struct timeval){0, 0});
    select(getdtablesize(), calloc(1, sizeof(fd_set)), NULL, NULL, &(struct timeval){0, 0});
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){0, 0}, stale(16));
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    socklen_t none = 0;
    getsockname(pair[0], malloc(0), &none);
    accept(pair[0], NULL, stale(4));
    preadv(pipes[0], stale(16), -1, 0);
    int semaphores = semget(IPC_PRIVATE, 1, 0600), shared = shmget(IPC_PRIVATE, 4096, 0600);
    semctl(semaphores, 0, SETVAL, stale(8));
    semctl(semaphores, 0, IPC_RMID, stale(8));
    shmctl(shared, IPC_RMID, stale(8));
    fcntl(0, F_GETFD, stale(8));
    syscall(SYS_futex, stale(8), FUTEX_WAKE_PRIVATE, 1);
    syscall(SYS_getpid, stale(8), stale(8));
    printf("%.1f\n", own_functions());
    return 0;
}
