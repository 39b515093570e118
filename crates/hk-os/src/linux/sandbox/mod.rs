//! Sandboxes that the process puts itself into.
//!
//! A filter of system calls (seccomp(2)) may end the process for a call that a plain malloc never makes. Who sets one through libc is seen,
//! and the filter is asked what it would say to each of the calls that can be done without. A filter that a process was born with is not
//! known: such calls are made, and may be refused.

mod filter;
#[cfg(test)]
mod tests;

pub use filter::Instruction;
use filter::{Call, allows};

use super::{MADV_GUARD_INSTALL, MADV_GUARD_REMOVE, PIDFD_SELF};
use core::sync::atomic::{AtomicU64, Ordering};

/// Calls that are left out where they are forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Optional {
    /// mprotect: memory is mapped anew instead.
    Protect,
    /// madvise: memory is kept.
    Advise,
    /// madvise's guard pages (Linux 6.13).
    Guard,
    /// process_madvise of oneself.
    AdviseMany,
    /// rt_sigprocmask.
    SignalMask,
    /// rt_sigaction.
    SignalAction,
    /// A clock that is not coarse: it may take a system call, or an instruction that faults in the strict sandbox (PR_SET_TSC, prctl(2)).
    Clock,
    /// getpid.
    ProcessId,
    /// gettid.
    ThreadId,
    /// prctl's name of a thread.
    ThreadName,
    /// To open, read and close a file.
    OpenFile,
    /// write to standard error.
    Write,
    /// What stops other threads and looks at memory.
    Scan,
    /// To make an image of the process, and what that does.
    Image,
}

use Optional::*;

/// Those of a process that may do nothing but read, write and exit (SECCOMP_MODE_STRICT).
const STRICT: u32 = !(1 << Write as u32);

static FORBIDDEN: Forbidden = Forbidden::new();

/// Calls that are forbidden.
struct Forbidden {
    /// A bit for each; above them, how often any were added: what was added by one is not taken back by another.
    state: AtomicU64,
}

const ADDED_SHIFT: u32 = 32;

impl Forbidden {
    const fn new() -> Self {
        Forbidden { state: AtomicU64::new(0) }
    }

    fn calls(&self) -> u32 {
        // Relaxed: set by the thread that sets the filter; the others learn of it as soon as may be.
        self.state.load(Ordering::Relaxed) as u32
    }

    fn add(&self, calls: u32) -> Noted {
        let with = |before: u64| (before | u64::from(calls)).wrapping_add(1 << ADDED_SHIFT);
        // Relaxed: as above.
        let before =
            self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| Some(with(before)));
        let (Ok(before) | Err(before)) = before;
        Noted { before, after: with(before) }
    }

    /// Nothing happens if others were added meanwhile: rather too many calls are left out than one is made.
    fn take_back(&self, noted: &Noted) {
        let _ = self.state.compare_exchange(noted.after, noted.before, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What was noted of a sandbox that is about to be entered.
#[derive(Debug)]
pub struct Noted {
    before: u64,
    after: u64,
}

impl Noted {
    /// The kernel has refused it.
    pub fn take_back(self) {
        FORBIDDEN.take_back(&self);
    }
}

/// Whether a call may be made, as far as is known.
pub fn may(call: Optional) -> bool {
    FORBIDDEN.calls() & (1 << call as u32) == 0
}

/// The process is about to be allowed nothing but to read, write and exit.
pub fn note_strict() -> Noted {
    FORBIDDEN.add(STRICT)
}

/// The kernel is about to be given a filter. What one of several forbids is forbidden.
pub fn note_filter(filter: &[Instruction]) -> Noted {
    let is_forbidden = |calls: &[Call]| calls.iter().any(|call| !allows(filter, call));
    let forbidden = CALLS.iter().filter(|(_, calls)| is_forbidden(calls));
    FORBIDDEN.add(forbidden.fold(0, |bits, &(what, _)| bits | 1 << what as u32))
}

/// Any address, number of bytes, descriptor, process.
const PLACE: u64 = 0x7F00_0000_0000;
const BYTES: u64 = 4096;
const FILE: u64 = 3;
const PROCESS: u64 = 1;
/// Of memory to work with.
const SCRATCH_FLAGS: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;
const FOLDER_FLAGS: i32 = libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC;

const fn call(number: libc::c_long, arguments: [u64; 6]) -> Call {
    Call { number: number as u32, arguments }
}

/// On a page of memory: mprotect with an access, madvise with an advice.
const fn on_page(number: libc::c_long, what: i32) -> Call {
    call(number, [PLACE, BYTES, what as u64, 0, 0, 0])
}

/// All of them, with the calls as they are made.
const CALLS: &[(Optional, &[Call])] = &[
    (
        Protect,
        &[
            on_page(libc::SYS_mprotect, libc::PROT_READ | libc::PROT_WRITE),
            on_page(libc::SYS_mprotect, libc::PROT_NONE),
        ],
    ),
    (
        Advise,
        &[
            on_page(libc::SYS_madvise, libc::MADV_DONTNEED),
            on_page(libc::SYS_madvise, libc::MADV_POPULATE_WRITE),
            on_page(libc::SYS_madvise, libc::MADV_NOHUGEPAGE),
        ],
    ),
    (
        Guard,
        &[
            on_page(libc::SYS_madvise, libc::MADV_DONTNEED),
            on_page(libc::SYS_madvise, MADV_GUARD_INSTALL),
            on_page(libc::SYS_madvise, MADV_GUARD_REMOVE),
        ],
    ),
    (
        AdviseMany,
        &[call(libc::SYS_process_madvise, [PIDFD_SELF as u64, PLACE, 1, MADV_GUARD_REMOVE as u64, 0, 0])],
    ),
    (
        SignalMask,
        &[
            call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as u64, PLACE, PLACE, 8, 0, 0]),
            // Which asks whether memory can be read.
            call(libc::SYS_rt_sigprocmask, [u64::MAX, PLACE, 0, 8, 0, 0]),
        ],
    ),
    (SignalAction, &[call(libc::SYS_rt_sigaction, [libc::SIGSEGV as u64, 0, PLACE, 8, 0, 0])]),
    (Clock, &[call(libc::SYS_clock_gettime, [libc::CLOCK_REALTIME as u64, PLACE, 0, 0, 0, 0])]),
    (ProcessId, &[call(libc::SYS_getpid, [0; 6])]),
    (ThreadId, &[call(libc::SYS_gettid, [0; 6])]),
    (ThreadName, &[call(libc::SYS_prctl, [libc::PR_GET_NAME as u64, PLACE, 0, 0, 0, 0])]),
    (
        OpenFile,
        &[
            call(
                libc::SYS_openat,
                [libc::AT_FDCWD as u64, PLACE, (libc::O_RDONLY | libc::O_CLOEXEC) as u64, 0, 0, 0],
            ),
            call(libc::SYS_read, [FILE, PLACE, BYTES, 0, 0, 0]),
            call(libc::SYS_close, [FILE, 0, 0, 0, 0, 0]),
        ],
    ),
    (Write, &[call(libc::SYS_write, [libc::STDERR_FILENO as u64, PLACE, 80, 0, 0, 0])]),
    (
        Scan,
        &[
            call(libc::SYS_rt_sigaction, [super::stop::SIGNAL as u64, 0, PLACE, 8, 0, 0]),
            call(libc::SYS_rt_sigaction, [super::stop::SIGNAL as u64, PLACE, PLACE, 8, 0, 0]),
            call(libc::SYS_rt_tgsigqueueinfo, [PROCESS, PROCESS, super::stop::SIGNAL as u64, PLACE, 0, 0]),
            call(libc::SYS_openat, [libc::AT_FDCWD as u64, PLACE, FOLDER_FLAGS as u64, 0, 0, 0]),
            call(libc::SYS_getdents64, [FILE, PLACE, BYTES, 0, 0, 0]),
            call(libc::SYS_pread64, [FILE, PLACE, BYTES, 0, 0, 0]),
            call(libc::SYS_process_vm_readv, [PROCESS, PLACE, 1, PLACE, 1, 0]),
            call(libc::SYS_sigaltstack, [0, PLACE, 0, 0, 0, 0]),
            // What stopped threads do.
            call(
                libc::SYS_futex,
                [PLACE, (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as u64, 0, PLACE, 0, 0],
            ),
            call(libc::SYS_futex, [PLACE, (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u64, 1, 0, 0, 0]),
            call(
                libc::SYS_futex,
                [PLACE, (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u64, i32::MAX as u64, 0, 0, 0],
            ),
            call(libc::SYS_restart_syscall, [0; 6]),
            call(libc::SYS_rt_sigreturn, [0; 6]),
        ],
    ),
    (
        Image,
        &[
            call(libc::SYS_clone, [super::image::CLONE_FLAGS as u64, PLACE, 0, 0, 0, 0]),
            call(libc::SYS_close_range, [0, u32::MAX as u64, 2, 0, 0, 0]),
            call(libc::SYS_wait4, [PROCESS, PLACE, super::image::WAIT_FLAGS as u64, 0, 0, 0]),
            call(libc::SYS_kill, [PROCESS, libc::SIGKILL as u64, 0, 0, 0, 0]),
            call(libc::SYS_chdir, [PLACE, 0, 0, 0, 0, 0]),
            call(libc::SYS_prctl, [libc::PR_SET_NAME as u64, PLACE, 0, 0, 0, 0]),
            call(libc::SYS_setpriority, [libc::PRIO_PROCESS as u64, 0, 10, 0, 0, 0]),
            call(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE as u64, PLACE, 0, 0, 0]),
            call(libc::SYS_getppid, [0; 6]),
            call(
                libc::SYS_mmap,
                [0, BYTES, (libc::PROT_READ | libc::PROT_WRITE) as u64, SCRATCH_FLAGS, u64::MAX, 0],
            ),
            call(libc::SYS_openat, [libc::AT_FDCWD as u64, PLACE, libc::O_WRONLY as u64, 0, 0, 0]),
            call(libc::SYS_write, [FILE, PLACE, 4, 0, 0, 0]),
            call(libc::SYS_munmap, [PLACE, BYTES, 0, 0, 0, 0]),
            call(libc::SYS_futex, [PLACE, libc::FUTEX_WAIT as u64, 0, PLACE, 0, 0]),
            call(libc::SYS_futex, [PLACE, libc::FUTEX_WAKE as u64, i32::MAX as u64, 0, 0, 0]),
            call(libc::SYS_exit_group, [0; 6]),
        ],
    ),
];
