//! Frames that a signal interrupted, where the trampoline has no unwind tables.
//!
//! glibc describes its own; other C libraries and runtimes that set their own `sa_restorer` may not. All
//! look alike: the kernel leaves a `ucontext` on the stack, and the trampoline only calls rt_sigreturn.

use super::{REGISTER_COUNT, RIP, RSP, Values};
use crate::probe::Probe;

/// `mov $15,%rax; syscall`, the first eight bytes; the ninth is the syscall's second.
const RESTORE: u64 = u64::from_le_bytes([0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f]);
const RESTORE_LAST: u8 = 0x05;
/// Where the general registers begin in the kernel's `ucontext`.
const REGISTERS_OFFSET: u64 = 40;
/// DWARF numbers in the order of the kernel's `sigcontext`: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx,
/// rsp, rip.
const ORDER: [usize; REGISTER_COUNT] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, RSP, RIP];

/// Whether the code at `pc` is a trampoline's.
pub(super) fn is_trampoline(pc: u64, probe: &mut Probe) -> bool {
    probe.word(pc) == Some(RESTORE)
        && pc.checked_add(8).and_then(|last| probe.byte(last)) == Some(RESTORE_LAST)
}

/// The registers at the interruption, if the frame is a trampoline.
pub(super) fn interrupted_registers(values: &Values, probe: &mut Probe) -> Option<Values> {
    if !is_trampoline(values[RIP], probe) {
        return None;
    }
    let saved = values[RSP].checked_add(REGISTERS_OFFSET)?;
    let mut interrupted = [0; REGISTER_COUNT];
    for (index, &number) in ORDER.iter().enumerate() {
        interrupted[number] = probe.word(saved + 8 * index as u64)?;
    }
    Some(interrupted)
}
