// The library adds no thread and no descriptor, writes nothing, and takes no signal: a program that counts
// them, or that may not be threaded (unshare of the user namespace), sees the same as without. (What it prints
// is compared.)
#include "program.h"
#include <dirent.h>
#include <sched.h>

static int entries(const char *folder) {
    DIR *directory = opendir(folder);
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2;
}

int main(void) {
    for (int i = 0; i < 100000; i++)
        free(hide(malloc(i % 3000)));
    printf("%d thread, %d descriptors\n", entries("/proc/self/task"), entries("/proc/self/fd"));
    for (int signal_number = 1; signal_number < NSIG; signal_number++) {
        struct sigaction action;
        if (sigaction(signal_number, NULL, &action) == 0)
            REQUIRE(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN, "a handler for %d", signal_number);
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    REQUIRE(sigisemptyset(&blocked), "no signal is blocked");
    REQUIRE(unshare(CLONE_FS | CLONE_FILES) == 0, "unshare");
    int user = unshare(CLONE_NEWUSER);
    REQUIRE(user == 0 || errno != EINVAL, "unshare of the user namespace refuses threaded programs only");
    free(hide(malloc(100)));
    return done();
}
