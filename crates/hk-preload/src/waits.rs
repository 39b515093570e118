//! Waiting for children of any kind (`__WALL`, `__WCLONE`): the image that writes a snapshot is one of them, and the program is not to see it.
//!
//! Who waits for it alone is told that there is no such child. Who waits for several, and gets it, waits anew. The functions stay cancellation points,
//! as those behind them are.

use crate::arguments::{self, WAIT4, WAITID, WAITPID};
use crate::host::PROCESS;
use core::ffi::c_void;
use hk_os::Errno;
use libc::{ECHILD, c_int, id_t, idtype_t, pid_t, rusage, siginfo_t};

const OF_ANY_KIND: usize = (libc::__WALL | libc::__WCLONE) as u32 as usize;

/// What a call of the function of that number goes on to, given its arguments from the last to the first: None where it can't see an image.
pub fn instead_of(nth: usize, last_first: &[usize; 6]) -> Option<*mut c_void> {
    let (function, options) = match nth {
        WAITPID => (waitpid as *mut c_void, last_first[3]),
        WAIT4 => (wait4 as *mut c_void, last_first[3]),
        WAITID => (waitid as *mut c_void, last_first[2]),
        _ => return None,
    };
    (options & OF_ANY_KIND != 0).then_some(function)
}

extern "C" fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    type WaitPid = unsafe extern "C" fn(pid_t, *mut c_int, c_int) -> pid_t;
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: WaitPid = unsafe { core::mem::transmute(arguments::next(WAITPID)) };
    // SAFETY: the caller's arguments, or a place of ours for the status.
    wait_anew(child, status, |status| unsafe { next(child, status, options) })
}

extern "C" fn wait4(child: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    type Wait4 = unsafe extern "C" fn(pid_t, *mut c_int, c_int, *mut rusage) -> pid_t;
    // SAFETY: as in `waitpid`.
    let next: Wait4 = unsafe { core::mem::transmute(arguments::next(WAIT4)) };
    // SAFETY: as in `waitpid`.
    wait_anew(child, status, |status| unsafe { next(child, status, options, usage) })
}

/// Makes a call until it gives what is no image.
fn wait_anew(child: pid_t, status: *mut c_int, call: impl Fn(*mut c_int) -> pid_t) -> pid_t {
    if is_image(child) {
        return no_child();
    }
    let mut own = 0;
    let status = if status.is_null() { &raw mut own } else { status };
    loop {
        let came = call(status);
        if !is_image(came) {
            return came;
        }
        // SAFETY: the kernel has just written it.
        let status = unsafe { status.read_unaligned() };
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            PROCESS.was_image(came as u32);
        }
    }
}

extern "C" fn waitid(kind: idtype_t, child: id_t, info: *mut siginfo_t, options: c_int) -> c_int {
    type WaitId = unsafe extern "C" fn(idtype_t, id_t, *mut siginfo_t, c_int) -> c_int;
    // SAFETY: as in `waitpid`.
    let next: WaitId = unsafe { core::mem::transmute(arguments::next(WAITID)) };
    if kind == libc::P_PID && is_image(child as pid_t) {
        return no_child();
    }
    // SAFETY: all zero is one.
    let mut own: siginfo_t = unsafe { core::mem::zeroed() };
    let info = if info.is_null() { &raw mut own } else { info };
    loop {
        // SAFETY: the caller's arguments, or a place of ours for what is told.
        let result = unsafe { next(kind, child, info, options) };
        if result != 0 {
            return result;
        }
        // SAFETY: the kernel has just written it.
        let told = unsafe { info.read_unaligned() };
        // SAFETY: of a child, or zero.
        let came = unsafe { told.si_pid() };
        if !is_image(came) {
            return result;
        }
        if matches!(told.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
            if options & libc::WNOWAIT != 0 {
                // It would be told again.
                hk_os::poll_image(came as u32);
            }
            PROCESS.was_image(came as u32);
        }
    }
}

/// Whether a call is for an image, or gave one; numbers below 1 are no child's.
fn is_image(child: pid_t) -> bool {
    child > 0 && PROCESS.is_image(child as u32)
}

fn no_child() -> c_int {
    Errno::set(ECHILD);
    -1
}
