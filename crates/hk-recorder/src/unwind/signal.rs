//! Frames that a signal interrupted: what the kernel keeps of them, and trampolines without unwind tables.
//!
//! glibc describes its own; other C libraries and runtimes that set their own `sa_restorer` may not. All
//! look alike: the kernel leaves a `ucontext` on the stack, and the trampoline only calls rt_sigreturn.

use super::{RBP, REGISTER_COUNT, RIP, RSP, Values};
use crate::probe::Probe;
use crate::stack_words::StackReader;

/// `mov $15,%rax; syscall`, the first eight bytes; the ninth is the syscall's second.
const RESTORE: u64 = u64::from_le_bytes([0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f]);
const RESTORE_LAST: u8 = 0x05;
/// Where the general registers begin in the kernel's `ucontext`.
const REGISTERS_OFFSET: u64 = 40;
/// DWARF numbers in the order of the kernel's `sigcontext`: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx,
/// rsp, rip.
const ORDER: [usize; REGISTER_COUNT] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, RSP, RIP];

/// Where the pointers of an interrupted frame lie in the `ucontext`.
const RSP_OFFSET: u64 = offset_in_context(RSP);
const RBP_OFFSET: u64 = offset_in_context(RBP);
const RIP_OFFSET: u64 = offset_in_context(RIP);

/// What the fast walk needs of an interrupted frame.
pub(super) struct Interrupted {
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
}

const fn offset_in_context(register: usize) -> u64 {
    let mut index = 0;
    while ORDER[index] != register {
        index += 1;
    }
    REGISTERS_OFFSET + 8 * index as u64
}

/// Where a register lies in the `ucontext`, if it is one that the fast walk needs.
pub(super) fn offset_of(register: usize) -> Option<i64> {
    match register {
        RSP => Some(RSP_OFFSET as i64),
        RBP => Some(RBP_OFFSET as i64),
        RIP => Some(RIP_OFFSET as i64),
        _ => None,
    }
}

/// The frame that a `ucontext` is about, if all its registers can be read.
pub(super) fn interrupted_frame(context: u64, reader: &mut StackReader<'_>) -> Option<Interrupted> {
    // The first; of those that the exact walk reads, the program counter is the last.
    reader.word(context.wrapping_add(REGISTERS_OFFSET))?;
    Some(Interrupted {
        bp: reader.word(context.wrapping_add(RBP_OFFSET))?,
        sp: reader.word(context.wrapping_add(RSP_OFFSET))?,
        pc: reader.word(context.wrapping_add(RIP_OFFSET))?,
    })
}

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
