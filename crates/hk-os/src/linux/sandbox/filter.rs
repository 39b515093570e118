//! What a filter of system calls says to a call, without making it.
//!
//! A filter is a program of the classic packet filter's machine (seccomp(2); linux/filter.h and Documentation/networking/filter.rst of the
//! kernel). The kernel takes only such as read the call's description alone, jump forward, and return. It may not have looked at it yet: whatever
//! its instructions are, it comes to an end here, as there is no jump backwards.

/// One instruction, as the kernel lays it out (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How far to jump where a comparison holds.
    pub if_true: u8,
    /// Where it does not.
    pub if_false: u8,
    /// The operand.
    pub operand: u32,
}

/// A call's description (`struct seccomp_data`).
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// AUDIT_ARCH_X86_64 (linux/audit.h).
const ARCHITECTURE: u32 = 0xC000_003E;
/// Bytes of a description.
const DESCRIPTION_BYTES: u32 = 64;
const MEMORY_WORDS: usize = 16;

/// The answers that let a call through (SECCOMP_RET_LOG, SECCOMP_RET_ALLOW); all others are kinds of no.
const RETURN_ACTION: u32 = 0xFFFF_0000;
const ALLOW: [u32; 2] = [0x7FFC_0000, 0x7FFF_0000];

/// Parts of a code (linux/bpf_common.h).
const CLASS: u16 = 0x07;
const LOAD: u16 = 0x00;
const LOAD_INDEX: u16 = 0x01;
const STORE: u16 = 0x02;
const STORE_INDEX: u16 = 0x03;
const ARITHMETIC: u16 = 0x04;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;
const MODE: u16 = 0xE0;
const MODE_IMMEDIATE: u16 = 0x00;
const MODE_ABSOLUTE: u16 = 0x20;
const MODE_MEMORY: u16 = 0x60;
const OPERATION: u16 = 0xF0;
const BY_INDEX: u16 = 0x08;
const RETURNS_ACCUMULATOR: u16 = 0x10;
const TO_ACCUMULATOR: u16 = 0x80;

impl Call {
    /// A word of the description. The address of the instruction is not known: 0.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => ARCHITECTURE,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (argument >> (offset % 8 * 8)) as u32
            }
            _ => 0,
        }
    }
}

/// The machine.
#[derive(Default)]
struct Machine {
    accumulator: u32,
    index: u32,
    memory: [u32; MEMORY_WORDS],
}

impl Machine {
    fn operand(&self, instruction: &Instruction) -> u32 {
        if instruction.code & BY_INDEX != 0 { self.index } else { instruction.operand }
    }

    fn source(&self, instruction: &Instruction, call: &Call) -> u32 {
        match instruction.code & MODE {
            MODE_IMMEDIATE => instruction.operand,
            MODE_ABSOLUTE => call.word(instruction.operand),
            MODE_MEMORY => self.memory[instruction.operand as usize % MEMORY_WORDS],
            // What is left is the length of the description.
            _ => DESCRIPTION_BYTES,
        }
    }

    /// None if the filter ends here, which is a no: a division by zero.
    fn compute(&mut self, instruction: &Instruction) -> Option<()> {
        let (a, b) = (self.accumulator, self.operand(instruction));
        self.accumulator = match instruction.code & OPERATION {
            0x00 => a.wrapping_add(b),
            0x10 => a.wrapping_sub(b),
            0x20 => a.wrapping_mul(b),
            0x30 => a.checked_div(b)?,
            0x40 => a | b,
            0x50 => a & b,
            0x60 => a.wrapping_shl(b),
            0x70 => a.wrapping_shr(b),
            0x80 => a.wrapping_neg(),
            0xA0 => a ^ b,
            _ => a,
        };
        Some(())
    }

    /// How many instructions are skipped.
    fn jump(&self, instruction: &Instruction) -> usize {
        let (a, b) = (self.accumulator, self.operand(instruction));
        let holds = match instruction.code & OPERATION {
            0x00 => return instruction.operand as usize,
            0x10 => a == b,
            0x20 => a > b,
            0x30 => a >= b,
            _ => a & b != 0,
        };
        usize::from(if holds { instruction.if_true } else { instruction.if_false })
    }
}

/// Whether a filter lets a call through.
pub fn allows(filter: &[Instruction], call: &Call) -> bool {
    let mut machine = Machine::default();
    let mut at = 0;
    while let Some(instruction) = filter.get(at) {
        at += 1;
        let place = instruction.operand as usize % MEMORY_WORDS;
        match instruction.code & CLASS {
            LOAD => machine.accumulator = machine.source(instruction, call),
            LOAD_INDEX => machine.index = machine.source(instruction, call),
            STORE => machine.memory[place] = machine.accumulator,
            STORE_INDEX => machine.memory[place] = machine.index,
            ARITHMETIC if machine.compute(instruction).is_some() => {}
            ARITHMETIC => return false,
            JUMP => at = at.saturating_add(machine.jump(instruction)),
            RETURN => {
                let is_computed = instruction.code & RETURNS_ACCUMULATOR != 0;
                let answer = if is_computed { machine.accumulator } else { instruction.operand };
                return ALLOW.contains(&(answer & RETURN_ACTION));
            }
            _ if instruction.code & TO_ACCUMULATOR != 0 => machine.accumulator = machine.index,
            _ => machine.index = machine.accumulator,
        }
    }
    // No filter ends so, or the kernel had not taken it.
    false
}
