//! Sandboxes that the program puts itself into.
//!
//! A filter of system calls (seccomp(2)) may end the process for opening a file, which a plain malloc never does. Who sets one says first
//! that it wants no new privileges, through libc: from then on no file is opened, and what would be read there is missing from the
//! report (resident bytes at exit, which mapping a bad address lies in). Who sets one by bare system calls, or as root, goes unseen;
//! and a free of an address that is not of the heap still reads which mapping that is, to find its owner, and an exec what it is to start.

use crate::host::PROCESS;
use crate::next::{Next, unless_foreign};
use crate::system_calls::{gets_filled, text_goes_out};
use libc::{c_int, c_ulong};

type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
static NEXT_PRCTL: Next = Next::new(c"prctl");

unless_foreign! {
    prctl => our_prctl, NEXT_PRCTL;
}

/// At the start.
pub fn begin() {
    NEXT_PRCTL.look_up();
}

extern "C" fn our_prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    let name = core::ptr::with_exposed_provenance(second as usize);
    match option {
        libc::PR_SET_NAME => text_goes_out(name),
        libc::PR_GET_NAME => gets_filled(name.cast(), 16),
        _ => {}
    }
    let is_sandbox = option == libc::PR_SET_NO_NEW_PRIVS || option == libc::PR_SET_SECCOMP;
    let heap = PROCESS.heap();
    if is_sandbox {
        heap.notice_fork();
    }
    // What a vfork child does to itself is not its parent's.
    if is_sandbox && heap.is_own() {
        hk_os::open_no_files();
    }
    // SAFETY: the address of libc's function of that name, which takes as many.
    let next: Prctl = unsafe { core::mem::transmute(NEXT_PRCTL.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(option, second, third, fourth, fifth) }
}
