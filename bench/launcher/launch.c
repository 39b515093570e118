/* Runs one program and writes what it cost.
 *
 *   launch REPORT_FILE TIMEOUT_SECONDS PROGRAM ARGS...
 *
 * It is a program of its own, static and tiny, for one reason: the kernel starts a child's peak RSS at
 * its parent's size, so a child started by the bench itself could never seem smaller than the bench.
 * Being static it also ignores the LD_PRELOAD that it hands on.
 *
 * The report is one line: user_us sys_us wall_us peak_rss_kib minor_faults major_faults switches status
 * where status is `exit:N` or `signal:N`. Children whose parent died come to us (sub-reaper), so the sums
 * cover the whole process tree; peak RSS is that of its largest process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t group;
static volatile sig_atomic_t timed_out;

static void on_alarm(int signal_number) {
    (void)signal_number;
    timed_out = 1;
    if (group > 0) kill(-group, SIGKILL);
}

static long long microseconds(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        dprintf(2, "usage: launch REPORT_FILE TIMEOUT_SECONDS PROGRAM ARGS...\n");
        return 125;
    }
    int report = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (report < 0) {
        dprintf(2, "launch: cannot write %s: %s\n", argv[1], strerror(errno));
        return 125;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    signal(SIGALRM, on_alarm);

    long long start = now_us();
    volatile int exec_errno = 0;
    pid_t child = vfork();
    if (child == 0) {
        setpgid(0, 0);
        execvp(argv[3], argv + 3);
        exec_errno = errno;
        _exit(127);
    }
    if (child < 0 || exec_errno) {
        dprintf(2, "launch: cannot start %s: %s\n", argv[3], strerror(child < 0 ? errno : exec_errno));
        return 127;
    }
    group = child;
    alarm((unsigned)atoi(argv[2]));

    long long user = 0, sys = 0, wall = 0, minor = 0, major = 0, switches = 0;
    long peak_kib = 0;
    int status = 0;
    for (;;) {
        struct rusage used;
        int ended;
        pid_t pid = wait4(-1, &ended, 0, &used);
        if (pid < 0) {
            if (errno == EINTR) continue;
            break; /* ECHILD: the whole tree has ended */
        }
        user += microseconds(used.ru_utime);
        sys += microseconds(used.ru_stime);
        minor += used.ru_minflt;
        major += used.ru_majflt;
        switches += used.ru_nvcsw + used.ru_nivcsw;
        if (used.ru_maxrss > peak_kib) peak_kib = used.ru_maxrss;
        if (pid == child) {
            status = ended;
            wall = now_us() - start;
        }
    }
    if (timed_out) {
        dprintf(report, "%lld %lld %lld %ld %lld %lld %lld timeout:%s\n", user, sys, wall, peak_kib, minor, major,
                switches, argv[2]);
        return 0;
    }
    dprintf(report, "%lld %lld %lld %ld %lld %lld %lld %s:%d\n", user, sys, wall, peak_kib, minor, major, switches,
            WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}
