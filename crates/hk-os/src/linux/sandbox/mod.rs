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

use super::{MADV_GUARD_INSTALL, MADV_GUARD_REMOVE};
use core::sync::atomic::{AtomicU32, Ordering};

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
}

use Optional::*;

const ALL: [Optional; 13] = [
    Protect,
    Advise,
    Guard,
    AdviseMany,
    SignalMask,
    SignalAction,
    Clock,
    ProcessId,
    ThreadId,
    ThreadName,
    OpenFile,
    Write,
    Scan,
];

/// Those of a process that may do nothing but read, write and exit (SECCOMP_MODE_STRICT).
const STRICT: u32 = !(1 << Write as u32);

/// A bit for each call that is forbidden.
static FORBIDDEN: AtomicU32 = AtomicU32::new(0);

/// Whether a call may be made, as far as is known.
pub fn may(call: Optional) -> bool {
    // Relaxed: set by the thread that sets the filter; the others learn of it as soon as may be.
    FORBIDDEN.load(Ordering::Relaxed) & (1 << call as u32) == 0
}

/// The process may do nothing any more but read, write and exit.
pub fn note_strict() {
    FORBIDDEN.fetch_or(STRICT, Ordering::Relaxed);
}

/// The kernel has taken a filter. What one of several forbids is forbidden.
pub fn note_filter(filter: &[Instruction]) {
    let is_forbidden = |call: &&Optional| !calls_of(**call).iter().all(|call| allows(filter, call));
    let forbidden = ALL.iter().filter(is_forbidden).fold(0, |bits, &call| bits | 1 << call as u32);
    FORBIDDEN.fetch_or(forbidden, Ordering::Relaxed);
}

/// The calls as they are made; addresses and descriptors stand for any.
fn calls_of(call: Optional) -> [Call; 3] {
    const PLACE: u64 = 0x7F00_0000_0000;
    const BYTES: u64 = 4096;
    let one = |number: libc::c_long, arguments: [u64; 6]| {
        let call = Call { number: number as u32, arguments };
        [call, call, call]
    };
    let advice = |advice: i32| [PLACE, BYTES, advice as u64, 0, 0, 0];
    let several = |number: libc::c_long, arguments: [[u64; 6]; 3]| {
        arguments.map(|arguments| Call { number: number as u32, arguments })
    };
    match call {
        Protect => {
            let access = |access: i32| [PLACE, BYTES, access as u64, 0, 0, 0];
            let (open, closed) = (access(libc::PROT_READ | libc::PROT_WRITE), access(libc::PROT_NONE));
            several(libc::SYS_mprotect, [open, open, closed])
        }
        Advise => several(
            libc::SYS_madvise,
            [libc::MADV_DONTNEED, libc::MADV_POPULATE_WRITE, libc::MADV_NOHUGEPAGE].map(advice),
        ),
        Guard => several(
            libc::SYS_madvise,
            [libc::MADV_DONTNEED, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE].map(advice),
        ),
        AdviseMany => one(
            libc::SYS_process_madvise,
            [super::PIDFD_SELF as u64, PLACE, 1, MADV_GUARD_REMOVE as u64, 0, 0],
        ),
        SignalMask => one(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as u64, PLACE, PLACE, 8, 0, 0]),
        SignalAction => one(libc::SYS_rt_sigaction, [libc::SIGSEGV as u64, 0, PLACE, 8, 0, 0]),
        Clock => one(libc::SYS_clock_gettime, [libc::CLOCK_REALTIME as u64, PLACE, 0, 0, 0, 0]),
        ProcessId => one(libc::SYS_getpid, [0; 6]),
        ThreadId => one(libc::SYS_gettid, [0; 6]),
        ThreadName => one(libc::SYS_prctl, [libc::PR_GET_NAME as u64, PLACE, 0, 0, 0, 0]),
        OpenFile => {
            let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
            let call = |number: libc::c_long, arguments| Call { number: number as u32, arguments };
            [
                call(libc::SYS_openat, [libc::AT_FDCWD as u64, PLACE, flags, 0, 0, 0]),
                call(libc::SYS_read, [3, PLACE, BYTES, 0, 0, 0]),
                call(libc::SYS_close, [3, 0, 0, 0, 0, 0]),
            ]
        }
        Scan => {
            let call = |number: libc::c_long, arguments| Call { number: number as u32, arguments };
            [
                call(libc::SYS_rt_tgsigqueueinfo, [1, 1, 33, PLACE, 0, 0]),
                call(libc::SYS_process_vm_readv, [1, PLACE, 1, PLACE, 1, 0]),
                call(libc::SYS_getdents64, [3, PLACE, BYTES, 0, 0, 0]),
            ]
        }
        Write => one(libc::SYS_write, [libc::STDERR_FILENO as u64, PLACE, 80, 0, 0, 0]),
    }
}
