//! One word of memory, read so that a fault can be got over.
//!
//! A read costs a call of three instructions. If it faults, whoever handles SIGSEGV asks
//! [`resume_after_bad_read`] where to go on: the function then returns "unreadable". Handlers are somebody
//! else's; until one is there, callers read only what the kernel has said can be read.
#![allow(unsafe_code, reason = "reads arbitrary memory of its own process")]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

global_asm!(
    ".pushsection .text.hk_read_word, \"ax\", @progbits",
    ".p2align 4",
    ".globl hk_read_word",
    ".hidden hk_read_word",
    ".type hk_read_word, @function",
    "hk_read_word:",
    ".cfi_startproc",
    // The first instruction, so that the function's address is the one that faults.
    "mov rax, [rdi]",
    "mov edx, 1",
    "ret",
    ".globl hk_read_word_failed",
    ".hidden hk_read_word_failed",
    "hk_read_word_failed:",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
    ".cfi_endproc",
    ".size hk_read_word, . - hk_read_word",
    ".popsection",
);

unsafe extern "C" {
    fn hk_read_word();
    fn hk_read_word_failed();
}

/// Whether a handler is installed that calls [`resume_after_bad_read`].
static READS_RECOVER: AtomicBool = AtomicBool::new(false);

/// Tells whether a handler for SIGSEGV and SIGBUS is installed that calls [`resume_after_bad_read`] and goes on
/// at the address that it gives. Stacks that are no thread's own (coroutines, signal stacks) are then read
/// without asking the kernel each time.
pub fn set_reads_recover(recover: bool) {
    // Relaxed: it guards no data. Whoever still sees the old value asks the kernel once too often, or reads
    // what was found readable before, of which the handler takes care as soon as it is installed.
    READS_RECOVER.store(recover, Ordering::Relaxed);
}

/// Whether reads recover now.
#[inline]
pub(crate) fn reads_recover() -> bool {
    // Relaxed: as in `set_reads_recover`.
    READS_RECOVER.load(Ordering::Relaxed)
}

/// Where the code that faulted at `pc` is to go on, if that was one of our reads. For handlers of SIGSEGV and
/// SIGBUS: set the program counter of the context to it and return.
pub fn resume_after_bad_read(pc: u64) -> Option<u64> {
    (pc == hk_read_word as *const () as u64).then_some(hk_read_word_failed as *const () as u64)
}

/// The word at `address`; None if it cannot be read, provided that reads recover.
///
/// # Safety
/// The address must be readable, or have been found so before: then a handler that recovers is what is left
/// between a stale finding and a crash.
#[inline(always)]
pub(crate) unsafe fn read_word(address: u64) -> Option<u64> {
    let (value, readable): (u64, u64);
    // SAFETY: the function reads eight bytes at rdi, changes rax, rdx and flags only, and needs a stack for
    // its return address; that the address can be read is the caller's promise.
    unsafe {
        asm!(
            "call {read}",
            read = sym hk_read_word,
            in("rdi") address,
            out("rax") value,
            out("rdx") readable,
            options(readonly),
        );
    }
    (readable != 0).then_some(value)
}
