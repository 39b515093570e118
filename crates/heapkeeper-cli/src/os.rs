//! The process boundary: signals, waiting, and what std has no word for. The only unsafe code of the verbs
//! `run`, `report` and `lib`.

#![allow(unsafe_code, reason = "system calls that std does not wrap")]

use std::ffi::{CString, c_int};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Signals that are not taken over: they speak of an error of this process itself, or cannot be caught.
const OWN_SIGNALS: [c_int; 9] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGPIPE,
    libc::SIGKILL,
    libc::SIGSTOP,
];

/// Whether SIGPIPE was ignored when the process began: Rust's start-up code ignores it in any case.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before Rust's start-up code.
#[used]
// SAFETY: the loader calls each entry of this section once, as a function without result, before main; the
// function calls sigaction and stores to a static, which need nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only asks; `action` is a place for one sigaction.
    let failed = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0;
    // SAFETY: zeroed, and sigaction is valid as zeros.
    let action = unsafe { action.assume_init() };
    !failed && action.sa_sigaction == libc::SIG_IGN
}

fn set_disposition(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: `handler` is SIG_DFL or SIG_IGN in all callers, so no code of ours runs in a handler.
    unsafe { libc::signal(signal, handler) };
}

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    fn empty() -> SignalSet {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigemptyset fills the set it is given.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: filled by the call above.
        SignalSet(unsafe { set.assume_init() })
    }

    fn of(signal: c_int) -> SignalSet {
        let mut set = SignalSet::empty();
        // SAFETY: the set is initialised.
        unsafe { libc::sigaddset(&mut set.0, signal) };
        set
    }

    fn forwarded() -> SignalSet {
        let mut set = SignalSet::empty();
        // SAFETY: the set is initialised.
        unsafe { libc::sigfillset(&mut set.0) };
        for signal in OWN_SIGNALS {
            // SAFETY: as above.
            unsafe { libc::sigdelset(&mut set.0, signal) };
        }
        set
    }

    /// Changes the calling thread's mask and gives the one before.
    fn apply(&self, how: c_int) -> SignalSet {
        let mut before = SignalSet::empty();
        // SAFETY: both sets are initialised.
        unsafe { libc::pthread_sigmask(how, &self.0, &mut before.0) };
        before
    }
}

/// What heapkeeper was started with, and what CMD is to be started with.
#[derive(Clone, Copy)]
pub struct Inherited {
    mask: SignalSet,
    pipe_ignored: bool,
    child_ignored: bool,
}

/// The signals taken over: from here on they wait until [`Signals::next`] asks for them. To be called
/// before any thread is made, as threads inherit the mask.
pub struct Signals {
    set: SignalSet,
    inherited: Inherited,
}

/// A signal that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Its number.
    pub signal: c_int,
    /// Whether the kernel sent it, as it does for the keys of a terminal: to the whole foreground group.
    pub from_kernel: bool,
}

impl Signals {
    /// Blocks all signals that can be forwarded.
    pub fn take_over() -> Signals {
        let set = SignalSet::forwarded();
        let child_ignored = is_ignored(libc::SIGCHLD);
        // Ignored, it would let CMD's status vanish.
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        let mask = set.apply(libc::SIG_BLOCK);
        let pipe_ignored = PIPE_WAS_IGNORED.load(Ordering::Relaxed);
        Signals { set, inherited: Inherited { mask, pipe_ignored, child_ignored } }
    }

    /// The next signal, or None after `patience`.
    pub fn next(&self, patience: Duration) -> Option<Arrived> {
        let patience = libc::timespec {
            tv_sec: patience.as_secs() as libc::time_t,
            tv_nsec: patience.subsec_nanos() as libc::c_long,
        };
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the set is initialised, `info` is a place for one siginfo_t, `patience` lives long enough.
        let signal = unsafe { libc::sigtimedwait(&self.set.0, info.as_mut_ptr(), &patience) };
        // SAFETY: zeroed, and siginfo_t is valid as zeros.
        let info = unsafe { info.assume_init() };
        // Codes above 0 are the kernel's; kill, tgkill and sigqueue have 0 or less.
        (signal > 0).then_some(Arrived { signal, from_kernel: info.si_code > 0 })
    }

    /// Takes signals as they come again. Those that came while CMD ran were CMD's affair: the key that ended
    /// it must not end us before the summary.
    pub fn give_back(&self) {
        while self.next(Duration::ZERO).is_some() {}
        self.inherited.mask.apply(libc::SIG_SETMASK);
    }

    /// Lets the command start with the mask and the dispositions that heapkeeper itself was started with.
    pub fn hand_down(&self, command: &mut Command) {
        let inherited = self.inherited;
        // SAFETY: the closure runs in the forked child; it calls sigaction and sigprocmask alone, which are
        // async-signal-safe, and touches no memory but its own copy of `inherited`.
        unsafe { command.pre_exec(move || inherited.restore()) };
    }

    /// Stops this process by `signal`, as CMD was stopped by it; returns when it was continued.
    pub fn stop_by(&self, signal: c_int) {
        let ignored = is_ignored(signal);
        if signal != libc::SIGSTOP {
            set_disposition(signal, libc::SIG_DFL);
        }
        // Sent to the process while it is blocked: the terminal's own signal may be waiting already, and the two
        // are one. Raised after the unblocking, or sent to the thread, it would stop us a second time.
        send(std::process::id(), signal);
        let before = SignalSet::of(signal).apply(libc::SIG_UNBLOCK);
        before.apply(libc::SIG_SETMASK);
        if ignored {
            set_disposition(signal, libc::SIG_IGN);
        }
    }
}

impl Inherited {
    fn restore(&self) -> io::Result<()> {
        let disposition = |ignored| if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
        set_disposition(libc::SIGPIPE, disposition(self.pipe_ignored));
        set_disposition(libc::SIGCHLD, disposition(self.child_ignored));
        self.mask.apply(libc::SIG_SETMASK);
        Ok(())
    }
}

/// Writes to an open file wait from now on.
pub fn make_blocking(file: &File) -> io::Result<()> {
    // SAFETY: asks for the flags of our own descriptor.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sets them.
    let set = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal; that the process is gone is no error.
pub fn send(pid: u32, signal: c_int) {
    // SAFETY: kill has no preconditions.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// What became of a child.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// It ended with this status.
    Exited(i32, Resources),
    /// It was ended by this signal.
    Killed(c_int, Resources),
    /// It was stopped by this signal.
    Stopped(c_int),
    /// It was continued.
    Continued,
}

/// What the kernel counted for a child that ended.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    /// Highest resident size of it or of a child of its own, in bytes.
    pub resident_peak_bytes: u64,
}

/// The next change of a child, if there is one; never waits.
pub fn poll_child(pid: u32) -> io::Result<Option<Change>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    // SAFETY: both places are valid for one value each.
    let found = unsafe { libc::wait4(pid as libc::pid_t, &mut status, flags, usage.as_mut_ptr()) };
    // SAFETY: zeroed, and rusage is valid as zeros.
    let usage = unsafe { usage.assume_init() };
    match found {
        -1 => return Err(io::Error::last_os_error()),
        0 => return Ok(None),
        _ => {}
    }
    let resources = Resources { resident_peak_bytes: usage.ru_maxrss as u64 * 1024 };
    Ok(Some(if libc::WIFEXITED(status) {
        Change::Exited(libc::WEXITSTATUS(status), resources)
    } else if libc::WIFSIGNALED(status) {
        Change::Killed(libc::WTERMSIG(status), resources)
    } else if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else {
        Change::Continued
    }))
}

/// Ends this process by a signal without a core file: whoever waits for it sees what happened to CMD. Returns
/// only if the signal does not end a process.
pub fn die_by(signal: c_int) {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `no_core` is a valid rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &no_core) };
    // A core pattern that is a pipe ignores the limit.
    // SAFETY: PR_SET_DUMPABLE takes one number.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    set_disposition(signal, libc::SIG_DFL);
    SignalSet::of(signal).apply(libc::SIG_UNBLOCK);
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(signal) };
}

/// Whether the kernel has guard pages (MADV_GUARD_INSTALL, Linux 6.13), and nothing forbids them.
pub fn has_guard_pages() -> bool {
    const MADV_GUARD_INSTALL: c_int = 102;
    const BYTES: usize = 4096;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place that the kernel chooses touches no memory that is in use.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the page was just mapped, and nobody uses it.
    let installed = unsafe { libc::madvise(page, BYTES, MADV_GUARD_INSTALL) } == 0;
    // SAFETY: as above.
    unsafe { libc::munmap(page, BYTES) };
    installed
}

/// The effective user id.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// The real user id and group id.
pub fn real_ids() -> (u32, u32) {
    // SAFETY: getuid cannot fail and touches no memory.
    let user = unsafe { libc::getuid() };
    // SAFETY: as above.
    let group = unsafe { libc::getgid() };
    (user, group)
}

/// Whether a file carries capabilities (the attribute security.capability).
pub fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let name = c"security.capability";
    // SAFETY: both strings end in zero; a size of 0 asks for the length alone, and nothing is written.
    let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    len > 0
}

/// A name that nobody else uses or can guess.
pub fn unique_name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}-{random:016x}", std::process::id())
}

/// A path beside `path`, for what is renamed to it when it is whole.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".{}", unique_name()));
    PathBuf::from(name)
}

/// The signal's name, as SIGTERM.
pub fn signal_name(signal: c_int) -> String {
    const NAMES: [&str; 32] = [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
        "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    match usize::try_from(signal).ok().and_then(|n| NAMES.get(n)).filter(|name| !name.is_empty()) {
        Some(name) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}
