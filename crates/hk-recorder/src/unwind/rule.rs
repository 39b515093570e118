//! What a step needs to know at a program counter, in one word.

use super::cfi::{Base, ExpressionRef, Row, Rule, Tables};
use super::signal::offset_of;
use super::{RBP, REGISTER_COUNT, RIP, RSP};

/// A packed rule: its kind in the lowest 4 bits, then how far the frame address is above its register (20 bits,
/// in words), how far below the frame address the frame pointer is saved (12 bits, in words; 0: it is not), the
/// module (12 bits; 0: none that is known), and the lowest bits of the generation (16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PackedRule(u64);

/// How a frame's caller is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum RuleKind {
    /// The frame address is the stack pointer plus an offset. The return address lies below it.
    StackPointer = 1,
    /// The frame address is the frame pointer plus an offset, likewise.
    FramePointer = 2,
    /// No tables: if the frame pointer is sound, the frame is where it says. In place of an offset the rule
    /// carries how often code had been loaded when it was made.
    Guess = 3,
    /// The stack ends here.
    End = 4,
    /// The tables make no sense.
    Broken = 5,
    /// The frame address is in memory, at the frame pointer minus an offset, and the frame pointer is saved
    /// where it points: functions that align their stack.
    Aligned = 6,
    /// A signal trampoline: the kernel's `ucontext` is at the stack pointer plus an offset, and the caller is what
    /// was interrupted. In place of where the frame pointer is saved the rule carries a [`Trampoline`].
    Signal = 7,
    /// Only an exact step will do. This and the one before are told from others by their numbers.
    Complicated = 8,
}

/// Frames at a program counter that a signal rule is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(super) enum Trampoline {
    /// All: the tables say so.
    Described = 0,
    /// Those that were interrupted there: the trampoline, which has no tables, begins at the program counter.
    Interrupted = 1,
    /// Those that the handler returns to: it begins after it.
    ReturnedTo = 2,
}

/// Operations of expressions: the frame or stack pointer plus an offset, and what lies there.
const DW_OP_BREG_RBP: u8 = 0x76;
const DW_OP_BREG_RSP: u8 = 0x77;
const DW_OP_DEREF: u8 = 0x06;
const CFA_SHIFT: u32 = 4;
const CFA_BITS: u32 = 20;
const SAVED_SHIFT: u32 = 24;
const SAVED_BITS: u32 = 12;
const MODULE_SHIFT: u32 = 36;
const MODULE_BITS: u32 = 12;
const GENERATION_SHIFT: u32 = 48;
/// Modules that can be told apart by rules.
pub(crate) const MODULES_MAX: usize = (1 << MODULE_BITS) - 1;
/// Bits of the generation in a rule.
pub(crate) const GENERATION_BITS: u32 = 64 - GENERATION_SHIFT;
const WORD_BYTES: i64 = 8;

impl PackedRule {
    /// A rule without offsets.
    pub(super) const fn plain(kind: RuleKind) -> PackedRule {
        PackedRule(kind as u64)
    }

    /// The rule that a row of the unwind tables makes at `pc`.
    pub(super) fn of_row(row: &Row, tables: &Tables, pc: u64, is_signal_trampoline: bool) -> PackedRule {
        let rule = if is_signal_trampoline {
            Self::try_of_signal_row(row, tables)
        } else {
            Self::try_of_row(row, tables, pc)
        };
        rule.unwrap_or(Self::plain(RuleKind::Complicated))
    }

    fn try_of_row(row: &Row, tables: &Tables, pc: u64) -> Option<PackedRule> {
        let (kind, offset) = match row.base {
            Base::Register { register: RSP, offset } => (RuleKind::StackPointer, offset),
            Base::Register { register: RBP, offset } => (RuleKind::FramePointer, offset),
            // An exact step finds no frame address either.
            Base::Register { register: REGISTER_COUNT.., .. } => {
                return Some(Self::plain(RuleKind::Broken));
            }
            Base::Expression(expression) => {
                let code = tables.code(expression)?;
                match aligned_offset(code) {
                    Some(offset) => (RuleKind::Aligned, offset),
                    None => (RuleKind::StackPointer, linkage_offset(code, pc)?),
                }
            }
            Base::Register { .. } => return None,
        };
        if !matches!(row.rules[RSP], Rule::Same | Rule::Undefined | Rule::ValOffset(0)) {
            return None;
        }
        match row.rules[RIP] {
            Rule::Undefined => return Some(Self::plain(RuleKind::End)),
            Rule::Offset(-8) => {}
            _ => return None,
        }
        let saved = match row.rules[RBP] {
            Rule::Expression(expression) if kind == RuleKind::Aligned => {
                // Where the frame pointer points.
                (tables.code(expression)? == [DW_OP_BREG_RBP, 0]).then_some(0)?
            }
            _ if kind == RuleKind::Aligned => return None,
            Rule::Same | Rule::Undefined => 0,
            Rule::Offset(offset) => offset.checked_neg()?,
            _ => return None,
        };
        Self::with_offsets(kind, offset, saved)
    }

    /// That of a trampoline, if its tables say that the registers are where the kernel puts them.
    fn try_of_signal_row(row: &Row, tables: &Tables) -> Option<PackedRule> {
        let offset = |expression: ExpressionRef| above_stack_pointer(tables.code(expression)?);
        let Base::Expression(frame) = row.base else { return None };
        let [stack_pointer @ .., DW_OP_DEREF] = tables.code(frame)? else { return None };
        let context = above_stack_pointer(stack_pointer)? - offset_of(RSP)?;
        for register in [RSP, RBP, RIP] {
            let Rule::Expression(expression) = row.rules[register] else { return None };
            if offset(expression)? != context + offset_of(register)? {
                return None;
            }
        }
        Self::signal(context, Trampoline::Described)
    }

    /// That of a trampoline with the `ucontext` so many bytes above the stack pointer.
    pub(super) fn signal(context: i64, trampoline: Trampoline) -> Option<PackedRule> {
        Self::with_offsets(RuleKind::Signal, context, trampoline as i64 * WORD_BYTES)
    }

    /// Whether a signal rule is for a frame that was interrupted at its program counter, or was not.
    pub(super) fn is_for(self, interrupted: bool) -> bool {
        let only = if interrupted { Trampoline::Interrupted } else { Trampoline::ReturnedTo };
        let trampoline = self.saved_below() / WORD_BYTES as u64;
        trampoline == Trampoline::Described as u64 || trampoline == only as u64
    }

    /// A guess at code that is in no module, as long as none is loaded.
    pub(super) fn guess(loads: u64) -> PackedRule {
        PackedRule(RuleKind::Guess as u64 | ((loads & ((1 << CFA_BITS) - 1)) << CFA_SHIFT))
    }

    /// Whether it is a guess that was made before the last module was loaded.
    #[inline(always)]
    pub(super) fn is_old_guess(self, loads: u64) -> bool {
        self.is(RuleKind::Guess) && ((self.0 >> CFA_SHIFT) ^ loads) & ((1 << CFA_BITS) - 1) != 0
    }

    /// None if the offsets cannot be packed.
    pub(super) fn with_offsets(kind: RuleKind, cfa: i64, saved_below: i64) -> Option<PackedRule> {
        let cfa = packed(cfa, CFA_BITS)?;
        let saved = packed(saved_below, SAVED_BITS)?;
        Some(PackedRule(kind as u64 | (cfa << CFA_SHIFT) | (saved << SAVED_SHIFT)))
    }

    /// The same rule, of a module (0: none that is known) in a generation, of which the lowest bits are kept.
    pub(crate) fn with(self, module: u64, generation: u64) -> PackedRule {
        PackedRule(self.0 | (module << MODULE_SHIFT) | (generation << GENERATION_SHIFT))
    }

    pub(crate) fn from_bits(bits: u64) -> PackedRule {
        PackedRule(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn is(self, kind: RuleKind) -> bool {
        self.0 & ((1 << CFA_SHIFT) - 1) == kind as u64
    }

    /// Whether more has to be known than the stack and frame pointers.
    #[inline(always)]
    pub(super) fn needs_more(self) -> bool {
        self.0 & ((1 << CFA_SHIFT) - 1) >= RuleKind::Signal as u64
    }

    /// How many bytes the frame address lies above its register (or, aligned, is kept below it).
    #[inline(always)]
    pub(crate) fn cfa_offset(self) -> u64 {
        ((self.0 >> CFA_SHIFT) & ((1 << CFA_BITS) - 1)) * WORD_BYTES as u64
    }

    /// How many bytes below the frame address the caller's frame pointer is; 0 if it was not saved.
    #[inline(always)]
    pub(crate) fn saved_below(self) -> u64 {
        ((self.0 >> SAVED_SHIFT) & ((1 << SAVED_BITS) - 1)) * WORD_BYTES as u64
    }

    #[inline(always)]
    pub(crate) fn module(self) -> u64 {
        (self.0 >> MODULE_SHIFT) & ((1 << MODULE_BITS) - 1)
    }

    #[inline(always)]
    pub(crate) fn generation_bits(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }
}

/// How far below the frame pointer the address of the frame is kept, if that is what the code says.
fn aligned_offset(code: &[u8]) -> Option<i64> {
    // A signed LEB128 number of one byte: bit 6 is its sign.
    match *code {
        [DW_OP_BREG_RBP, offset @ 0x40..0x80, DW_OP_DEREF] => Some(0x80 - i64::from(offset)),
        _ => None,
    }
}

/// How far above the stack pointer the frame address is at `pc` in a linkage table, if the code is what linkers
/// write for all entries: 8, and from some byte of the entry's sixteen on, when a number has been pushed, 16.
fn linkage_offset(code: &[u8], pc: u64) -> Option<i64> {
    const DW_OP_BREG_RIP: u8 = 0x80;
    const AND: u8 = 0x1a;
    const GE: u8 = 0x2a;
    const SHL: u8 = 0x24;
    const PLUS: u8 = 0x22;
    const LITERAL: u8 = 0x30;
    const THREE: u8 = LITERAL + 3;
    const FIFTEEN: u8 = LITERAL + 15;
    let pushed_from = match *code {
        [DW_OP_BREG_RSP, 8, DW_OP_BREG_RIP, 0, FIFTEEN, AND, byte @ 0x30..=0x3f, GE, THREE, SHL, PLUS] => {
            u64::from(byte - LITERAL)
        }
        _ => return None,
    };
    // The program counter is `pc` if the frame was interrupted, as all in such a table are, or else the next.
    let offset = |pc: u64| if pc % 16 >= pushed_from { 16 } else { 8 };
    (offset(pc) == offset(pc.wrapping_add(1))).then(|| offset(pc))
}

/// How far above the stack pointer the place is that the code says, if it is one of those in a `ucontext`.
fn above_stack_pointer(code: &[u8]) -> Option<i64> {
    // A signed LEB128 number of two bytes, of which the second is not negative.
    match *code {
        [DW_OP_BREG_RSP, low, high @ 0..0x40] if low >= 0x80 => {
            Some(i64::from(low & 0x7f) | (i64::from(high) << 7))
        }
        _ => None,
    }
}

/// A number of bytes as words, if it is one and fits.
fn packed(bytes: i64, bits: u32) -> Option<u64> {
    let words = u64::try_from(bytes / WORD_BYTES).ok()?;
    (bytes % WORD_BYTES == 0 && words >> bits == 0).then_some(words)
}
