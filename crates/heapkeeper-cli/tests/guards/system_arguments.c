// Calls of the system whose arguments are heap blocks; with an argument on the command line each block is
// freed before its call.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <utime.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
static int bad, calls, failed;
static void *give(size_t n, const void *what, size_t m) {
    char *p = malloc(n);
    memset(p, 0, n);
    if (m)
        memcpy(p, what, m);
    if (bad)
        free(p);
    return p;
}
static void done(void *p) {
    if (!bad)
        free(p);
}
#define T(text) give(strlen(text) + 1, text, strlen(text) + 1)
#define CASE(call, p)                                                                                        \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        calls++;                                                                                             \
        call;                                                                                                \
        if (errno == EFAULT) {                                                                               \
            failed++;                                                                                        \
            printf("EFAULT: %s\n", #call);                                                                   \
        }                                                                                                    \
        done(p);                                                                                             \
    } while (0)
int main(int c, char **v) {
    bad = c > 1;
    char *p;
    p = T("/etc/passwd");
    CASE(close(open(p, O_RDONLY)), p);
    p = T("/etc/passwd");
    CASE(close(openat(AT_FDCWD, p, O_RDONLY)), p);
    p = T("/etc/passwd");
    CASE(
        {
            FILE *f = fopen(p, "r");
            if (f)
                fclose(f);
        },
        p);
    p = T("/etc");
    CASE(
        {
            DIR *d = opendir(p);
            if (d)
                closedir(d);
        },
        p);
    p = T("/etc");
    CASE(access(p, R_OK), p);
    p = T("/nonexistent-x");
    CASE(unlink(p), p);
    p = T("/nonexistent-x");
    CASE(rename(p, "/nonexistent-y"), p);
    p = T("/nonexistent-x");
    CASE(rename("/nonexistent-y", p), p);
    p = T("/nonexistent-x/y");
    CASE(mkdir(p, 0777), p);
    p = T("/");
    CASE(chdir(p), p);
    p = T("/proc/self/exe");
    {
        char b[200];
        CASE(readlink(p, b, 200), p);
    }
    p = give(200, 0, 0);
    CASE(readlink("/proc/self/exe", p, 200), p);
    p = give(200, 0, 0);
    CASE(getcwd(p, 200), p);
    p = give(sizeof(struct stat), 0, 0);
    CASE(stat("/etc", (void *)p), p);
    p = give(sizeof(struct stat), 0, 0);
    CASE(lstat("/etc", (void *)p), p);
    p = give(sizeof(struct stat), 0, 0);
    CASE(fstat(0, (void *)p), p);
    p = T("/etc");
    {
        struct stat s;
        CASE(stat(p, &s), p);
    }
    p = give(sizeof(struct statfs), 0, 0);
    CASE(statfs("/etc", (void *)p), p);
    p = give(sizeof(struct statx), 0, 0);
    CASE(statx(AT_FDCWD, "/etc", 0, STATX_ALL, (void *)p), p);
    p = T("user.x");
    {
        char b[9];
        CASE(getxattr("/etc", p, b, 9), p);
    }
    {
        struct iovec w = {0};
        p = give(10, "0123456789", 10);
        w.iov_base = p;
        w.iov_len = 10;
        int fd = open("/dev/null", O_WRONLY);
        CASE(pwritev(fd, &w, 1, 0), p);
        close(fd);
    }
    {
        struct iovec w = {0};
        p = give(10, 0, 0);
        w.iov_base = p;
        w.iov_len = 10;
        int fd = open("/etc/passwd", O_RDONLY);
        CASE(preadv(fd, &w, 1, 0), p);
        close(fd);
    }
    {
        struct iovec w = {"x", 1};
        p = give(16, &w, 16);
        int fd = open("/dev/null", O_WRONLY);
        CASE(writev(fd, (void *)p, 1), p);
        close(fd);
    }
    {
        struct flock w = {.l_type = F_RDLCK};
        p = give(sizeof w, &w, sizeof w);
        int fd = open("/etc/passwd", O_RDONLY);
        CASE(fcntl(fd, F_GETLK, p), p);
        close(fd);
    }
    {
        p = give(4, 0, 0);
        int q[2];
        pipe(q);
        CASE(ioctl(q[0], FIONREAD, p), p);
    }
    p = give(8, 0, 0);
    CASE(pipe((void *)p), p);
    {
        struct pollfd w = {0, POLLIN, 0};
        p = give(8, &w, 8);
        CASE(poll((void *)p, 1, 0), p);
    }
    {
        struct timeval w = {0, 0};
        p = give(16, &w, 16);
        CASE(select(0, 0, 0, 0, (void *)p), p);
    }
    {
        int e = epoll_create1(0);
        struct epoll_event w = {EPOLLIN};
        int q[2];
        pipe(q);
        p = give(12, &w, 12);
        CASE(epoll_ctl(e, EPOLL_CTL_ADD, q[0], (void *)p), p);
        write(q[1], "x", 1);
        p = give(24, 0, 0);
        CASE(epoll_wait(e, (void *)p, 2, 0), p);
    }
    {
        struct sockaddr_un a = {AF_UNIX, "/nonexistent-x/s"};
        p = give(sizeof a, &a, sizeof a);
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        CASE(connect(s, (void *)p, sizeof a), p);
        p = give(sizeof a, &a, sizeof a);
        CASE(bind(s, (void *)p, sizeof a), p);
        int one = 1;
        p = give(4, &one, 4);
        CASE(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, p, 4), p);
        socklen_t len = 4;
        p = give(4, 0, 0);
        CASE(getsockopt(s, SOL_SOCKET, SO_TYPE, p, &len), p);
        p = give(4, &len, 4);
        CASE(getsockopt(s, SOL_SOCKET, SO_TYPE, &one, (void *)p), p);
    }
    p = give(8, 0, 0);
    CASE(socketpair(AF_UNIX, SOCK_STREAM, 0, (void *)p), p);
    {
        struct timespec w = {0, 1000};
        p = give(16, &w, 16);
        CASE(nanosleep((void *)p, 0), p);
    }
    p = give(sizeof(struct itimerval), 0, 0);
    CASE(getitimer(ITIMER_REAL, (void *)p), p);
    {
        pid_t k = fork();
        if (!k)
            _exit(3);
        p = give(4, 0, 0);
        CASE(waitpid(k, (void *)p, 0), p);
    }
    p = give(sizeof(struct rusage), 0, 0);
    CASE(getrusage(RUSAGE_SELF, (void *)p), p);
    p = give(sizeof(struct tms), 0, 0);
    CASE(times((void *)p), p);
    p = give(sizeof(struct utsname), 0, 0);
    CASE(uname((void *)p), p);
    p = give(32, 0, 0);
    CASE(getrandom(p, 32, 0), p);
    p = give(32, 0, 0);
    CASE(getentropy(p, 32), p);
    p = give(128, 0, 0);
    CASE(sched_getaffinity(0, 128, (void *)p), p);
    {
        struct semid_ds about;
        int semaphores = semget(IPC_PRIVATE, 2, 0600), queue = msgget(IPC_PRIVATE, 0600);
        int shared = shmget(IPC_PRIVATE, 4096, 0600);
        p = give(sizeof about, 0, 0);
        CASE(semctl(semaphores, 0, IPC_STAT, (void *)p), p);
        p = give(4, 0, 0);
        CASE(semctl(semaphores, 0, GETALL, (void *)p), p);
        p = give(sizeof(struct msqid_ds), 0, 0);
        CASE(msgctl(queue, IPC_STAT, (void *)p), p);
        p = give(sizeof(struct shmid_ds), 0, 0);
        CASE(shmctl(shared, IPC_STAT, (void *)p), p);
        struct { long type; char text[8]; } message = {1, "seven"};
        msgsnd(queue, &message, 8, 0);
        p = give(sizeof message, 0, 0);
        CASE(msgrcv(queue, p, 8, 0, IPC_NOWAIT), p);
        semctl(semaphores, 0, IPC_RMID);
        msgctl(queue, IPC_RMID, 0);
        shmctl(shared, IPC_RMID, 0);
    }
    {
        static char page[8192] __attribute__((aligned(4096)));
        p = give(2, 0, 0);
        CASE(mincore(page, 8192, (void *)p), p);
    }
    p = give(16, 0, 0);
    CASE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, (void *)p), p);
    p = give(16, 0, 0);
    CASE(clock_gettime(CLOCK_THREAD_CPUTIME_ID, (void *)p), p);
    p = give(sizeof(struct rlimit), 0, 0);
    CASE(getrlimit(RLIMIT_CORE, (void *)p), p);
    p = give(sizeof(struct sysinfo), 0, 0);
    CASE(sysinfo((void *)p), p);
    p = give(4, 0, 0);
    CASE(getresuid((void *)p, &(uid_t){0}, &(uid_t){0}), p);
    {
        int pair[2];
        socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
        p = give(3, "abc", 3);
        struct iovec part = {p, 3};
        struct mmsghdr out = {{.msg_iov = &part, .msg_iovlen = 1}};
        CASE(sendmmsg(pair[0], &out, 1, 0), p);
        struct iovec room = {(char[8]){0}, 8};
        struct mmsghdr in = {{.msg_iov = &room, .msg_iovlen = 1}};
        struct timespec soon = {0, 1000};
        p = give(16, &soon, 16);
        CASE(recvmmsg(pair[1], &in, 1, MSG_DONTWAIT, (void *)p), p);
        socklen_t size = sizeof(struct sockaddr_un);
        p = give(4, &size, 4);
        struct sockaddr_un from;
        send(pair[0], "x", 1, 0);
        CASE(recvfrom(pair[1], (char[4]){0}, 4, 0, (void *)&from, (void *)p), p);
        struct ifconf interfaces = {0};
        p = give(sizeof interfaces, &interfaces, sizeof interfaces);
        CASE(ioctl(pair[0], SIOCGIFCONF, p), p);
    }
    {
        struct f_owner_ex owner = {F_OWNER_PID, 0};
        p = give(sizeof owner, &owner, sizeof owner);
        CASE(fcntl(1, F_GETOWN_EX, p), p);
        p = give(4, 0, 0);
        CASE(ioctl(1, TIOCGPGRP, p), p);
        struct { struct file_handle handle; char room[128]; } handle = {{128}};
        int mount;
        p = give(sizeof handle, &handle, sizeof handle);
        CASE(name_to_handle_at(AT_FDCWD, "/etc/passwd", (void *)p, &mount, 0), p);
        p = T("/etc/passwd");
        CASE(name_to_handle_at(AT_FDCWD, p, &handle.handle, &mount, 0), p);
        p = T("/nonexistent-x");
        CASE(utime(p, 0), p);
    }
    {
        int pair[2];
        pipe(pair);
        p = T("bare");
        CASE(syscall(SYS_write, pair[1], p, 4), p);
        p = give(4, 0, 0);
        CASE(syscall(SYS_read, pair[0], p, 4), p);
        p = T("/etc/passwd");
        CASE(close(syscall(SYS_openat, AT_FDCWD, p, O_RDONLY, 0)), p);
        p = give(sizeof(struct rlimit), 0, 0);
        CASE(syscall(SYS_prlimit64, 0, RLIMIT_CORE, 0, p), p);
        struct sockaddr_un to = {AF_UNIX, "/nonexistent-x/s"};
        p = give(sizeof to, &to, sizeof to);
        int s = socket(AF_UNIX, SOCK_DGRAM, 0);
        CASE(syscall(SYS_sendto, s, "x", 1, 0, p, sizeof to), p);
    }
    {
        char *words[] = {"/nonexistent-x", 0, 0};
        words[1] = p = T("argument");
        CASE(execv(words[0], words), p);
        words[1] = "argument";
        p = T("/nonexistent-x");
        CASE(execv(p, words), p);
        p = give(sizeof words, words, sizeof words);
        CASE(execvp(words[0], (void *)p), p);
    }
    printf("%d calls, %d failed\n", calls, failed);
    return 0;
}
