//! Walking the stack.

use crate::mapping::Mapping;
use crate::registers::{Innermost, Registers};
use hk_format::StackState;

/// A walk along the stack, at some frame.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    registers: Registers,
}

impl Walk {
    /// A walk that begins where `registers` were captured.
    pub(crate) fn new(registers: &Registers) -> Walk {
        Walk { registers: *registers }
    }

    /// Goes on to the first frame that is to be kept.
    pub(crate) fn skip(&mut self, _innermost: Innermost) {}

    /// Where the frame's code goes on.
    pub(crate) fn pc(&self) -> u64 {
        self.registers.rip
    }

    /// The frame's stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.registers.rsp
    }

    /// The address for the record.
    pub(crate) fn return_address(&self) -> u64 {
        self.registers.rip
    }

    /// Goes on to the calling frame; how the stack ended if there is none.
    pub(crate) fn step(&mut self) -> Option<StackState> {
        Some(StackState::Broken)
    }
}

/// The modules of a record.
pub(crate) struct ModuleList<'a> {
    _mapping: &'a Mapping,
}

impl<'a> ModuleList<'a> {
    pub(crate) fn new(mapping: &'a Mapping, _offset: usize) -> Self {
        ModuleList { _mapping: mapping }
    }
    pub(crate) fn add_module_of(&mut self, _pc: u64) {}
    pub(crate) fn bytes(&self) -> usize {
        0
    }
}

pub(crate) fn is_in_module(_address: u64) -> bool {
    false
}

pub(crate) fn module_name_and_offset(_pc: u64, _buffer: &mut [u8]) -> Option<(&[u8], u64)> {
    None
}
