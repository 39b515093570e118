//! Limits that the program sets on its own address space.
//!
//! The heap reserves more address space than it will ever need, which costs nothing until a program limits what it
//! may map: with the whole of the limit reserved, every later mmap, and so every thread and every plugin, would
//! fail. So the functions that set RLIMIT_AS are looked at here: before the limit holds, the heap gives back
//! what it never used. A limit that another process sets (prlimit(1)) or a bare system call goes unseen.

use crate::host::PROCESS;
use crate::system_calls::{gets_filled, goes_out};
use hk_format::NoteKind;
use hk_os::Errno;
use libc::{c_int, pid_t, rlimit64};

/// Fits a heap into an address space of `limit_bytes`: what the program has mapped stays, and of the rest the heap keeps
/// at most three quarters, for the program maps memory too.
fn make_room(limit_bytes: u64) {
    let _errno = Errno::keep();
    let heap = PROCESS.heap();
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let reserved = heap.reserved_bytes();
    let others = hk_os::mapped_bytes().saturating_sub(reserved);
    let bytes_max = limit.saturating_sub(others) / 4 * 3;
    // Only a handler that interrupted the heap while it held its lock re-enters.
    if reserved <= bytes_max || heap.is_reentered() || !heap.shrink_reservation(bytes_max) {
        return;
    }
    PROCESS.note_shrunk();
    if heap.reserved_bytes() < reserved {
        PROCESS.recording().note(NoteKind::AddressSpaceLimited, limit_bytes, b"");
    }
}

fn limit(process: pid_t, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int {
    goes_out(new.cast(), size_of::<rlimit64>());
    gets_filled(old.cast(), size_of::<rlimit64>());
    // SAFETY: getpid has no arguments; it is not cached, so right in a vfork child.
    let is_own = process == 0 || process == unsafe { libc::getpid() };
    if is_own && resource == libc::RLIMIT_AS as c_int {
        // SAFETY: null, or the caller's limit.
        if let Some(new) = unsafe { new.as_ref() }
            && new.rlim_cur != libc::RLIM64_INFINITY
            && new.rlim_cur <= new.rlim_max
        {
            make_room(new.rlim_cur);
        }
    }
    if is_own && resource == libc::RLIMIT_DATA as c_int {
        // SAFETY: null, or the caller's limit.
        if let Some(new) = unsafe { new.as_ref() }
            && new.rlim_cur <= new.rlim_max
        {
            PROCESS.limit_data(usize::try_from(new.rlim_cur).unwrap_or(usize::MAX));
        }
    }
    // SAFETY: the caller's arguments. This is what libc's four functions do.
    unsafe { libc::syscall(libc::SYS_prlimit64, process, resource, new, old) as c_int }
}

#[unsafe(no_mangle)]
extern "C" fn setrlimit(resource: c_int, new: *const rlimit64) -> c_int {
    limit(0, resource, new, core::ptr::null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn setrlimit64(resource: c_int, new: *const rlimit64) -> c_int {
    limit(0, resource, new, core::ptr::null_mut())
}

#[unsafe(no_mangle)]
extern "C" fn prlimit(process: pid_t, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int {
    limit(process, resource, new, old)
}

#[unsafe(no_mangle)]
extern "C" fn prlimit64(process: pid_t, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int {
    limit(process, resource, new, old)
}

// On 64-bit systems rlimit and rlimit64 are the same, so one function serves both names.
const _: () = assert!(size_of::<libc::rlimit>() == size_of::<rlimit64>());
