//! An image of the process as it is at one moment: a child that runs nothing of the program.
//!
//! The program is not to notice it. The child is made without a signal at its end, so that wait(2) does not see it, but for a caller that asks for
//! such children (`__WALL`, `__WCLONE`), from whom a host has to hide it. It shares the table of descriptors until it has one of its own, which is empty: so no pipe has another
//! writer, not for a moment. It is not traced with the program, its working folder is `/`, and it is the first to go when memory is short.

use super::bare::system_call;
use super::sandbox::{Optional, may};
use core::arch::asm;
use core::ffi::CStr;

/// CLOSE_RANGE_UNSHARE (Linux 5.9).
const CLOSE_RANGE_UNSHARE: usize = 2;
/// Of clone(2), which goes into the sandbox's table too. The child has no signal.
pub(super) const CLONE_FLAGS: usize = (libc::CLONE_FILES | libc::CLONE_UNTRACED) as usize;
/// setpriority(2) of the caller, and the value.
const NICE: usize = 10;
/// Of wait4(2): children without a signal alone.
pub(super) const WAIT_FLAGS: i32 = libc::__WCLONE | libc::WNOHANG;
const NAME: &CStr = c"heapkeeper";
const SIGNAL_SET_BYTES: usize = 8;

/// What an image does; it ends by [`end_image`].
pub type ImageEntry = extern "C" fn(argument: usize) -> !;

/// Makes an image, which runs `entry` on a stack of its own and has all signals blocked. Gives its id, or an errno where the system refuses.
///
/// # Safety
/// All signals are blocked, `stack_top` is the end of memory that nobody uses, a multiple of 16, and what `entry` needs lies in memory
/// that is not shared and does not change before this returns. `entry` calls nothing that takes a lock or allocates.
pub unsafe fn fork_image(stack_top: usize, entry: ImageEntry, argument: usize) -> Result<u32, i32> {
    let result: isize;
    // SAFETY: in the caller's thread it changes registers alone; in the child, which has its own memory, `entry` is called on its stack and
    // does not return.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") CLONE_FLAGS, in("rsi") stack_top, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") entry, in("r13") argument,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    if result < 0 { Err(-result as i32) } else { Ok(result as u32) }
}

/// What an image begins with; one descriptor may be kept. False if the kernel can't give it descriptors of its own: then it has to end at once.
pub fn become_image(kept: Option<u32>) -> bool {
    let all = u64::MAX;
    // SAFETY: the kernel reads the mask.
    unsafe {
        let mask = (&raw const all).addr();
        system_call(libc::SYS_rt_sigprocmask, [libc::SIG_BLOCK as usize, mask, 0, SIGNAL_SET_BYTES, 0, 0])
    };
    if !close_all_but(kept) {
        return false;
    }
    // What follows is for others' sake: it may fail.
    // SAFETY: a path that ends with NUL.
    unsafe { system_call(libc::SYS_chdir, [c"/".as_ptr().addr(), 0, 0, 0, 0, 0]) };
    let set_name = [libc::PR_SET_NAME as usize, NAME.as_ptr().addr(), 0, 0, 0, 0];
    // SAFETY: a name that ends with NUL.
    unsafe { system_call(libc::SYS_prctl, set_name) };
    // SAFETY: of the caller alone.
    unsafe { system_call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, NICE, 0, 0, 0]) };
    let no_core = [0_u64; 2];
    let set_limit = [0, libc::RLIMIT_CORE as usize, no_core.as_ptr().addr(), 0, 0, 0];
    // SAFETY: the kernel reads the limit.
    unsafe { system_call(libc::SYS_prlimit64, set_limit) };
    be_killed_first();
    true
}

/// Has a table of descriptors of one's own, with one of them or none. What lies behind it is not even copied.
fn close_all_but(kept: Option<u32>) -> bool {
    let close = |first: u32, last: u32, flags: usize| {
        // SAFETY: the table of descriptors is a new one, which nobody else has.
        unsafe { system_call(libc::SYS_close_range, [first as usize, last as usize, flags, 0, 0, 0]) == 0 }
    };
    match kept {
        None => close(0, u32::MAX, CLOSE_RANGE_UNSHARE),
        Some(kept) => close(kept + 1, u32::MAX, CLOSE_RANGE_UNSHARE) && (kept == 0 || close(0, kept - 1, 0)),
    }
}

/// If memory runs short, the image has to go and not the program (proc(5), oom_score_adj).
fn be_killed_first() {
    let path = c"/proc/self/oom_score_adj";
    let open = [libc::AT_FDCWD as usize, path.as_ptr().addr(), libc::O_WRONLY as usize, 0, 0, 0];
    // SAFETY: a path that ends with NUL.
    let file = unsafe { system_call(libc::SYS_openat, open) };
    let text = b"1000";
    if let Ok(file) = usize::try_from(file) {
        // SAFETY: the kernel reads the text.
        unsafe { system_call(libc::SYS_write, [file, text.as_ptr().addr(), text.len(), 0, 0, 0]) };
        // SAFETY: our own descriptor, closed once.
        unsafe { system_call(libc::SYS_close, [file, 0, 0, 0, 0, 0]) };
    }
}

/// Ends the calling image.
pub fn end_image() -> ! {
    loop {
        // SAFETY: ends this process.
        unsafe { system_call(libc::SYS_exit_group, [0; 6]) };
    }
}

/// What has become of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageState {
    /// It is at work.
    Runs,
    /// It has ended; the signal that ended it, or 0. Nothing of it is left.
    Ended(i32),
    /// The same, and somebody else has waited for it.
    Lost,
}

/// What has become of an image of this process; never waits.
pub fn poll_image(image: u32) -> ImageState {
    wait_for(image, WAIT_FLAGS)
}

/// The same once it has ended.
pub fn wait_for_image(image: u32) -> ImageState {
    wait_for(image, WAIT_FLAGS & !libc::WNOHANG)
}

/// Ends an image of this process, if it has not ended.
pub fn kill_image(image: u32) -> ImageState {
    let state = poll_image(image);
    if state != ImageState::Runs {
        return state;
    }
    // SAFETY: our own child, that nobody has waited for: the number is no other's.
    unsafe { system_call(libc::SYS_kill, [image as usize, libc::SIGKILL as usize, 0, 0, 0, 0]) };
    wait_for_image(image)
}

fn wait_for(image: u32, flags: i32) -> ImageState {
    let mut status = 0_i32;
    loop {
        let arguments = [image as usize, (&raw mut status).addr(), flags as usize, 0, 0, 0];
        // SAFETY: the kernel writes the status.
        match unsafe { system_call(libc::SYS_wait4, arguments) } {
            0 => return ImageState::Runs,
            error if error == -(libc::EINTR as isize) => {}
            ..0 => return ImageState::Lost,
            _ if libc::WIFSIGNALED(status) => return ImageState::Ended(libc::WTERMSIG(status)),
            _ => return ImageState::Ended(0),
        }
    }
}

/// Whether nothing is known to forbid an image.
pub fn may_fork_image() -> bool {
    [Optional::Image, Optional::Scan, Optional::OpenFile, Optional::SignalMask].into_iter().all(may)
}
