//! Sandboxes that the program puts itself into.
//!
//! A filter of system calls (seccomp(2)) may end the process for opening a file, which a plain malloc never does. Who sets one says first
//! that it wants no new privileges, through libc: from then on no file is opened, and what would be read there is missing from the
//! report (resident bytes at exit, which mapping a bad address lies in). Who sets one by bare system calls, or as root, goes unseen;
//! and a free of an address that is not of the heap still reads which mapping that is, to find its owner, and an exec what it is to start.

use crate::host::PROCESS;
use libc::{c_int, c_ulong};

#[unsafe(no_mangle)]
extern "C" fn prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    let is_sandbox = option == libc::PR_SET_NO_NEW_PRIVS || option == libc::PR_SET_SECCOMP;
    let heap = PROCESS.heap();
    if is_sandbox {
        heap.notice_fork();
    }
    // What a vfork child does to itself is not its parent's.
    if is_sandbox && heap.is_own() {
        hk_os::open_no_files();
    }
    // SAFETY: the caller's arguments, as many as libc's own function passes on.
    unsafe { libc::syscall(libc::SYS_prctl, option, second, third, fourth, fifth) as c_int }
}
