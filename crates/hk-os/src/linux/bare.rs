//! System calls without libc, where its thread may be none of libc's, or its errno must not change.

use core::arch::{asm, naked_asm};

/// Makes a call; an error is its number, less than 0.
///
/// # Safety
/// The arguments must be what the call wants, and what it does to memory nothing that Rust relies on.
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the instruction changes rcx and r11 only; what it does to memory is the caller's affair.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") arguments[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// What a handler returns to (rt_sigreturn(2)). Unwinders know a signal's frame by these bytes.
#[unsafe(naked)]
pub(super) extern "C" fn restorer() {
    // glibc's (sysdeps/unix/sysv/linux/x86_64/sigaction.c): mov rax, 15; syscall.
    naked_asm!(".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05")
}
