//! The registers that unwinding starts from.
#![allow(unsafe_code, reason = "reads registers")]

use core::arch::asm;

/// The program counter and what a called function has to preserve, as of some point in a running function.
///
/// That function must not return before the registers are used: unwinding reads its frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Frame pointer, where it is used as one.
    pub rbp: u64,
    /// Preserved.
    pub rbx: u64,
    /// Preserved.
    pub r12: u64,
    /// Preserved.
    pub r13: u64,
    /// Preserved.
    pub r14: u64,
    /// Preserved.
    pub r15: u64,
}

/// Which frame is the first to be kept of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Innermost {
    /// The first that lies outside the module that this code is linked into: where the call into a
    /// preloaded library returns to.
    OutsideOwnModule,
    /// Where the registers were captured.
    AtCapture,
    /// The caller of the function where they were captured: for a heap that is part of the program.
    AtCaller,
}

impl Registers {
    /// The registers here, in the function that this is inlined into.
    #[inline(always)]
    pub fn capture() -> Registers {
        let mut registers = Registers::default();
        // SAFETY: stores eight words into `registers`, at the offsets of its `repr(C)` fields; neither the
        // stack nor flags are touched.
        unsafe {
            asm!(
                "lea {scratch}, [rip]",
                "mov [{to}], {scratch}",
                "mov [{to} + 8], rsp",
                "mov [{to} + 16], rbp",
                "mov [{to} + 24], rbx",
                "mov [{to} + 32], r12",
                "mov [{to} + 40], r13",
                "mov [{to} + 48], r14",
                "mov [{to} + 56], r15",
                to = in(reg) &raw mut registers,
                scratch = out(reg) _,
                options(nostack, preserves_flags),
            );
        }
        registers
    }
}
