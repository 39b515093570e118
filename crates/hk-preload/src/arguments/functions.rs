//! Which argument of which function leads to what. From the system's manual, sections 2 and 3, and glibc 2.36's headers. Not here are functions
//! that copy what they are given, so that the processor sees it (as sigaction, time, readdir), those of [`crate::system_calls`], and those that
//! start programs ([`crate::exec`]). [`BARE`] has what syscall(2) may be asked for.

use super::Count::{Int, Size};
use super::Kind::{
    Any, Bits, Fills, FillsEach, FillsParts, List, Message, MessageRoom, MessagesIn, MessagesOut, OfControl,
    OfEpollCtl, OfFcntl, OfIoctl, OfSleep, Pages, Reads, ReadsEach, ReadsParts, Room, RoomBytes, RoomOf,
    Text,
};
use super::{ARGUMENTS_MAX, Argument, bare, common, stubs, table_row};
use libc::*;

const INT: usize = size_of::<c_int>();
const STAT: usize = size_of::<stat>();
const STATFS: usize = size_of::<statfs>();
const STATX: usize = size_of::<statx>();
const TIMESPEC: usize = size_of::<timespec>();
const TIMEVAL: usize = size_of::<timeval>();
const ITIMERVAL: usize = size_of::<itimerval>();
const ITIMERSPEC: usize = size_of::<itimerspec>();
const RUSAGE: usize = size_of::<rusage>();
const EPOLL_EVENT: usize = size_of::<epoll_event>();
const POLLFD: usize = size_of::<pollfd>();
const RLIMIT: usize = size_of::<rlimit>();
const SIGNAL_EVENT: usize = size_of::<sigevent>();
const SIGNAL_INFO: usize = size_of::<siginfo_t>();
const QUEUE: usize = size_of::<mq_attr>();

/// The commands that take an address, a bit for each (semctl(2), msgctl(2), shmctl(2)): IPC_SET, IPC_STAT and IPC_INFO, and of each kind its own.
const IPC: u32 = 1 << IPC_SET | 1 << IPC_STAT | 1 << IPC_INFO;
const OF_SEMAPHORES: u32 =
    IPC | 1 << GETALL | 1 << SETALL | 1 << SEM_STAT | 1 << SEM_INFO | 1 << SEM_STAT_ANY;
const OF_QUEUES: u32 = IPC | 1 << MSG_STAT | 1 << MSG_INFO | 1 << 13;
const OF_SHARED: u32 = IPC | 1 << 13 | 1 << 14 | 1 << 15;

/// What the argument of a command of fcntl leads to, in bytes (fcntl(2)); 0 where it is no address: others leave in its register what was there.
pub(super) fn fcntl_bytes(command: usize) -> usize {
    let locks = [F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW];
    match command as i32 {
        command if locks.contains(&command) => size_of::<flock>(),
        // F_SETOWN_EX, F_GETOWN_EX; F_GET_RW_HINT to F_SET_FILE_RW_HINT (linux/fcntl.h).
        15 | 16 | 1035..=1038 => 8,
        _ => 0,
    }
}

/// The same of ioctl: those that say how large what they are given is (Linux, asm-generic/ioctl.h), and old ones that are common.
pub(super) fn is_ioctl_of_memory(request: usize) -> bool {
    let old = [
        TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, TIOCSWINSZ, FIONREAD, FIONBIO, FIOASYNC, TIOCGPGRP,
        TIOCSPGRP, TIOCGSID, TIOCOUTQ, TIOCMGET, TIOCMSET,
    ];
    // SIOCGIFNAME to SIOCGIFCOUNT (linux/sockios.h): what they have of an interface is all they take.
    let of_interfaces = 0x8910..0x8939;
    // Of these the number says a size, and there is no argument (linux/fs.h, FIFREEZE and FITHAW).
    let without = [0xc004_5877, 0xc004_5878];
    let says_size =
        request >> 30 & 3 != 0 && request >> 16 & 0x3fff != 0 && !without.contains(&(request as u32));
    says_size || old.contains(&(request as Ioctl)) || of_interfaces.contains(&request)
}

stubs! {
    // Files by path
    open(0: Text);
    open64(0: Text);
    __open_2(0: Text);
    __open64_2(0: Text);
    openat(1: Text);
    openat64(1: Text);
    __openat_2(1: Text);
    __openat64_2(1: Text);
    creat(0: Text);
    creat64(0: Text);
    fopen(0: Text);
    fopen64(0: Text);
    freopen(0: Text);
    freopen64(0: Text);
    opendir(0: Text);
    access(0: Text);
    faccessat(1: Text);
    unlink(0: Text);
    unlinkat(1: Text);
    remove(0: Text);
    rmdir(0: Text);
    mkdir(0: Text);
    mkdirat(1: Text);
    mknod(0: Text);
    mknodat(1: Text);
    mkfifo(0: Text);
    mkfifoat(1: Text);
    rename(0: Text, 1: Text);
    renameat(1: Text, 3: Text);
    renameat2(1: Text, 3: Text);
    link(0: Text, 1: Text);
    linkat(1: Text, 3: Text);
    symlink(0: Text, 1: Text);
    symlinkat(0: Text, 2: Text);
    readlink(0: Text, 1: Room(1, Size(2)));
    __readlink_chk(0: Text, 1: Room(1, Size(2)));
    readlinkat(1: Text, 2: Room(1, Size(3)));
    __readlinkat_chk(1: Text, 2: Room(1, Size(3)));
    chdir(0: Text);
    chroot(0: Text);
    getcwd(0: Room(1, Size(1)));
    __getcwd_chk(0: Room(1, Size(1)));
    chmod(0: Text);
    fchmodat(1: Text);
    chown(0: Text);
    lchown(0: Text);
    fchownat(1: Text);
    truncate(0: Text);
    truncate64(0: Text);
    utimensat(1: Text, 2: Reads(2 * TIMESPEC));
    futimens(1: Reads(2 * TIMESPEC));
    utime(0: Text, 1: Reads(size_of::<utimbuf>()));
    utimes(0: Text, 1: Reads(2 * TIMEVAL));
    futimesat(1: Text, 2: Reads(2 * TIMEVAL));
    name_to_handle_at(1: Text, 2: Any, 3: Fills(INT));
    open_by_handle_at(1: Any);
    fanotify_mark(4: Text);
    pivot_root(0: Text, 1: Text);
    lutimes(0: Text, 1: Reads(2 * TIMEVAL));
    stat(0: Text, 1: Fills(STAT));
    stat64(0: Text, 1: Fills(STAT));
    lstat(0: Text, 1: Fills(STAT));
    lstat64(0: Text, 1: Fills(STAT));
    fstat(1: Fills(STAT));
    fstat64(1: Fills(STAT));
    fstatat(1: Text, 2: Fills(STAT));
    fstatat64(1: Text, 2: Fills(STAT));
    statx(1: Text, 4: Fills(STATX));
    // What programs call that were built with a glibc before 2.33.
    __xstat(1: Text, 2: Fills(STAT));
    __xstat64(1: Text, 2: Fills(STAT));
    __lxstat(1: Text, 2: Fills(STAT));
    __lxstat64(1: Text, 2: Fills(STAT));
    __fxstat(2: Fills(STAT));
    __fxstat64(2: Fills(STAT));
    __fxstatat(2: Text, 3: Fills(STAT));
    __fxstatat64(2: Text, 3: Fills(STAT));
    statfs(0: Text, 1: Fills(STATFS));
    statfs64(0: Text, 1: Fills(STATFS));
    fstatfs(1: Fills(STATFS));
    fstatfs64(1: Fills(STATFS));
    statvfs(0: Text);
    statvfs64(0: Text);
    getxattr(0: Text, 1: Text, 2: Room(1, Size(3)));
    lgetxattr(0: Text, 1: Text, 2: Room(1, Size(3)));
    fgetxattr(1: Text, 2: Room(1, Size(3)));
    setxattr(0: Text, 1: Text, 2: ReadsEach(1, Size(3)));
    lsetxattr(0: Text, 1: Text, 2: ReadsEach(1, Size(3)));
    fsetxattr(1: Text, 2: ReadsEach(1, Size(3)));
    listxattr(0: Text, 1: Room(1, Size(2)));
    llistxattr(0: Text, 1: Room(1, Size(2)));
    flistxattr(1: Room(1, Size(2)));
    removexattr(0: Text, 1: Text);
    inotify_add_watch(1: Text);
    mount(0: Text, 1: Text, 2: Text);
    umount(0: Text);
    umount2(0: Text);
    memfd_create(0: Text);

    // Open files
    preadv(1: FillsParts(Int(2)));
    preadv64(1: FillsParts(Int(2)));
    pwritev(1: ReadsParts(Int(2)));
    pwritev64(1: ReadsParts(Int(2)));
    preadv2(1: FillsParts(Int(2)));
    preadv64v2(1: FillsParts(Int(2)));
    pwritev2(1: ReadsParts(Int(2)));
    pwritev64v2(1: ReadsParts(Int(2)));
    vmsplice(1: ReadsParts(Size(2)));
    getdents64(1: Room(1, Size(2)));
    sendfile(2: Reads(8));
    sendfile64(2: Reads(8));
    splice(1: Reads(8), 3: Reads(8));
    copy_file_range(1: Reads(8), 3: Reads(8));
    fcntl(2: OfFcntl);
    fcntl64(2: OfFcntl);
    ioctl(2: OfIoctl);
    pipe(0: Fills(2 * INT));
    pipe2(0: Fills(2 * INT));
    poll(0: ReadsEach(POLLFD, Size(1)));
    __poll_chk(0: ReadsEach(POLLFD, Size(1)));
    select(1: Bits(Int(0)), 2: Bits(Int(0)), 3: Bits(Int(0)), 4: Reads(TIMEVAL));
    epoll_ctl(3: OfEpollCtl);
    epoll_wait(1: Room(EPOLL_EVENT, Int(2)));

    // Sockets
    bind(1: ReadsEach(1, Int(2)));
    connect(1: ReadsEach(1, Int(2)));
    accept(1: RoomOf(2), 2: RoomBytes(1));
    accept4(1: RoomOf(2), 2: RoomBytes(1));
    getsockname(1: RoomOf(2), 2: Reads(INT));
    getpeername(1: RoomOf(2), 2: Reads(INT));
    getsockopt(3: RoomOf(4), 4: Reads(INT));
    setsockopt(3: ReadsEach(1, Int(4)));
    socketpair(3: Fills(2 * INT));
    sendmmsg(1: MessagesOut(Int(2)));
    recvmmsg(1: MessagesIn(Int(2)), 4: Reads(TIMESPEC));

    // Time
    nanosleep(0: Reads(TIMESPEC), 1: Any);
    clock_nanosleep(2: Reads(TIMESPEC), 3: OfSleep);
    clock_settime(1: Reads(TIMESPEC));
    getitimer(1: Fills(ITIMERVAL));
    setitimer(1: Reads(ITIMERVAL), 2: Fills(ITIMERVAL));
    timerfd_settime(2: Reads(ITIMERSPEC), 3: Fills(ITIMERSPEC));
    timerfd_gettime(1: Fills(ITIMERSPEC));
    timer_settime(2: Reads(ITIMERSPEC), 3: Fills(ITIMERSPEC));
    timer_gettime(1: Fills(ITIMERSPEC));
    clock_getres(1: Fills(TIMESPEC));
    clock_adjtime(1: Fills(size_of::<timex>()));
    adjtimex(0: Fills(size_of::<timex>()));
    settimeofday(0: Reads(TIMEVAL));

    // Processes and the system
    wait(0: Fills(INT));
    waitpid(1: Fills(INT));
    wait3(0: Fills(INT), 2: Fills(RUSAGE));
    wait4(1: Fills(INT), 3: Fills(RUSAGE));
    waitid(2: Fills(size_of::<siginfo_t>()));
    getrusage(1: Fills(RUSAGE));
    getrlimit(1: Fills(RLIMIT));
    getrlimit64(1: Fills(RLIMIT));
    sysinfo(0: Fills(size_of::<sysinfo>()));
    mincore(2: Pages(Size(1)));
    klogctl(1: Room(1, Int(2)));
    getresuid(0: Fills(INT), 1: Fills(INT), 2: Fills(INT));
    getresgid(0: Fills(INT), 1: Fills(INT), 2: Fills(INT));
    setdomainname(0: ReadsEach(1, Size(1)));
    acct(0: Text);
    swapon(0: Text);
    swapoff(0: Text);
    quotactl(1: Text);
    times(0: Fills(size_of::<tms>()));
    uname(0: Fills(size_of::<utsname>()));
    getrandom(0: FillsEach(1, Size(1)));
    getentropy(0: FillsEach(1, Size(1)));
    getgroups(1: Room(4, Int(0)));
    setgroups(1: ReadsEach(4, Size(0)));
    sched_setaffinity(2: ReadsEach(1, Size(1)));
    sched_getaffinity(2: Room(1, Size(1)));
    mq_send(1: ReadsEach(1, Size(2)));
    mq_receive(1: Room(1, Size(2)));
    mq_timedsend(1: ReadsEach(1, Size(2)), 4: Reads(TIMESPEC));
    mq_timedreceive(1: Room(1, Size(2)), 4: Reads(TIMESPEC));
    mq_getattr(1: Fills(QUEUE));
    mq_setattr(1: Reads(QUEUE), 2: Fills(QUEUE));
    mq_unlink(0: Text);
    msgsnd(1: Message(2));
    msgrcv(1: MessageRoom(2));
    msgctl(2: OfControl(1, OF_QUEUES));
    shmctl(2: OfControl(1, OF_SHARED));
    semctl(3: OfControl(2, OF_SEMAPHORES));
    semop(1: ReadsEach(6, Size(2)));
    semtimedop(1: ReadsEach(6, Size(2)), 3: Reads(TIMESPEC));
    sigpending(0: Fills(8));
    sigtimedwait(0: Reads(8), 1: Fills(size_of::<siginfo_t>()), 2: Reads(TIMESPEC));
    sigaltstack(0: Reads(size_of::<stack_t>()), 1: Fills(size_of::<stack_t>()));
    signalfd(1: Reads(8));
    eventfd_read(1: Fills(8));
    sched_getparam(1: Fills(INT));
    sched_setparam(1: Reads(INT));
    sched_setscheduler(2: Reads(INT));
    sethostname(0: ReadsEach(1, Size(1)));
}

bare! {
    SYS_read(1: Room(1, Size(2)));
    SYS_write(1: ReadsEach(1, Size(2)));
    SYS_pread64(1: Room(1, Size(2)));
    SYS_pwrite64(1: ReadsEach(1, Size(2)));
    SYS_readv(1: FillsParts(Int(2)));
    SYS_writev(1: ReadsParts(Int(2)));
    SYS_preadv(1: FillsParts(Int(2)));
    SYS_pwritev(1: ReadsParts(Int(2)));
    SYS_preadv2(1: FillsParts(Int(2)));
    SYS_pwritev2(1: ReadsParts(Int(2)));
    SYS_open(0: Text);
    SYS_openat(1: Text);
    SYS_openat2(1: Text, 2: ReadsEach(1, Size(3)));
    SYS_creat(0: Text);
    SYS_access(0: Text);
    SYS_faccessat(1: Text);
    SYS_faccessat2(1: Text);
    SYS_unlink(0: Text);
    SYS_unlinkat(1: Text);
    SYS_rmdir(0: Text);
    SYS_mkdir(0: Text);
    SYS_mkdirat(1: Text);
    SYS_mknodat(1: Text);
    SYS_rename(0: Text, 1: Text);
    SYS_renameat(1: Text, 3: Text);
    SYS_renameat2(1: Text, 3: Text);
    SYS_linkat(1: Text, 3: Text);
    SYS_symlinkat(0: Text, 2: Text);
    SYS_readlink(0: Text, 1: Room(1, Size(2)));
    SYS_readlinkat(1: Text, 2: Room(1, Size(3)));
    SYS_chdir(0: Text);
    SYS_getcwd(0: Room(1, Size(1)));
    SYS_fchmodat(1: Text);
    SYS_fchownat(1: Text);
    SYS_utimensat(1: Text, 2: Reads(2 * TIMESPEC));
    SYS_stat(0: Text, 1: Fills(STAT));
    SYS_lstat(0: Text, 1: Fills(STAT));
    SYS_fstat(1: Fills(STAT));
    SYS_newfstatat(1: Text, 2: Fills(STAT));
    SYS_statx(1: Text, 4: Fills(STATX));
    SYS_statfs(0: Text, 1: Fills(STATFS));
    SYS_fstatfs(1: Fills(STATFS));
    SYS_memfd_create(0: Text);
    SYS_getdents64(1: Room(1, Size(2)));
    SYS_sendfile(2: Reads(8));
    SYS_copy_file_range(1: Reads(8), 3: Reads(8));
    SYS_splice(1: Reads(8), 3: Reads(8));
    SYS_vmsplice(1: ReadsParts(Size(2)));
    SYS_fcntl(2: OfFcntl);
    SYS_ioctl(2: OfIoctl);
    SYS_pipe2(0: Fills(2 * INT));
    SYS_poll(0: ReadsEach(POLLFD, Size(1)));
    SYS_ppoll(0: ReadsEach(POLLFD, Size(1)), 2: Reads(TIMESPEC), 3: Reads(8));
    SYS_epoll_ctl(3: OfEpollCtl);
    SYS_epoll_wait(1: Room(EPOLL_EVENT, Int(2)));
    SYS_epoll_pwait(1: Room(EPOLL_EVENT, Int(2)), 4: Reads(8));
    SYS_bind(1: ReadsEach(1, Int(2)));
    SYS_connect(1: ReadsEach(1, Int(2)));
    SYS_accept4(1: RoomOf(2), 2: RoomBytes(1));
    SYS_sendto(1: ReadsEach(1, Size(2)), 4: ReadsEach(1, Int(5)));
    SYS_recvfrom(1: Room(1, Size(2)), 4: RoomOf(5), 5: RoomBytes(4));
    SYS_sendmmsg(1: MessagesOut(Int(2)));
    SYS_recvmmsg(1: MessagesIn(Int(2)), 4: Reads(TIMESPEC));
    SYS_getsockopt(3: RoomOf(4), 4: Reads(INT));
    SYS_setsockopt(3: ReadsEach(1, Int(4)));
    SYS_nanosleep(0: Reads(TIMESPEC), 1: Any);
    SYS_clock_gettime(1: Fills(TIMESPEC));
    SYS_clock_nanosleep(2: Reads(TIMESPEC), 3: OfSleep);
    SYS_getrandom(0: FillsEach(1, Size(1)));
    SYS_getrusage(1: Fills(RUSAGE));
    SYS_prlimit64(2: Reads(RLIMIT), 3: Fills(RLIMIT));
    SYS_sysinfo(0: Fills(size_of::<sysinfo>()));
    SYS_uname(0: Fills(size_of::<utsname>()));
    SYS_wait4(1: Fills(INT), 3: Fills(RUSAGE));
    SYS_waitid(2: Fills(SIGNAL_INFO), 4: Fills(RUSAGE));
    SYS_sched_getaffinity(2: Room(1, Size(1)));
    SYS_sched_setaffinity(2: ReadsEach(1, Size(1)));
    SYS_mincore(2: Pages(Size(1)));
    SYS_execve(0: Text, 1: List, 2: List);
    SYS_timer_create(1: Reads(SIGNAL_EVENT), 2: Fills(INT));
    SYS_io_uring_setup(1: Fills(120));
}
