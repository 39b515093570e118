//! Walking the stack of the calling thread, by the compilers' own unwind tables.
//!
//! Debian's programs keep no frame pointers, so `.eh_frame` it is: [`module`] finds the module of a program
//! counter, [`cfi`] the rules that hold there, and this file applies them. All state is some two KiB on the
//! stack; there is nothing to cache, to lock or to allocate, so a walk may interrupt another one. It costs a
//! few microseconds a frame, which only findings pay. [`fast`] keeps the rules, for the stacks of all blocks.

mod cfi;
mod elf;
mod expression;
mod fast;
mod loader;
mod module;
mod module_entry;
mod module_list;
mod module_log;
mod rule;
mod rule_cache;
mod signal;
#[cfg(test)]
#[allow(unsafe_code, reason = "signals, foreign functions")]
pub(crate) mod tests;
mod trace;

#[cfg(test)]
pub(crate) use fast::EXACT_STEPS;
pub(crate) use fast::Walker;
pub(crate) use module_entry::ModuleEntry;
pub use module_list::ModuleList;
pub(crate) use module_log::{LOG_END, ModuleLog};
pub(crate) use rule_cache::RuleCache;
pub use trace::STACK_FRAMES_MAX;
pub(crate) use trace::{Trace, module_of, return_address_of};

use crate::probe::Probe;
use crate::registers::{Innermost, Registers};
use cfi::{Base, Row, Rule, TableBytes};
use hk_format::StackState;
use module::Module;

/// Registers that unwind tables speak of: sixteen general ones, then the return address.
const REGISTER_COUNT: usize = 17;
/// Numbers in the DWARF of x86-64.
const RBX: usize = 3;
const RBP: usize = 6;
const RSP: usize = 7;
const RIP: usize = 16;
/// Frames of the own module that are skipped at most.
const OWN_FRAMES_MAX: usize = 64;

/// Register values of a frame, by DWARF number. Those that a call does not preserve are kept as they are:
/// no table asks for them.
type Values = [u64; REGISTER_COUNT];

/// A walk along the stack, at some frame.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    values: Values,
    /// The program counter is that of an instruction about to run, not a return address: the frame was
    /// interrupted by a signal, or the registers were captured there.
    interrupted: bool,
    probe: Probe,
    /// What the last frame lay in: the next one often does.
    place: Option<Place>,
}

/// The registers of the caller of a function that is running, innermost from where `registers` were captured: those that a call preserves may have
/// been put away by any frame in between. None if it is not on the stack.
pub fn registers_above(registers: &Registers, function: usize) -> Option<Registers> {
    let mut walk = Walk::new(registers);
    loop {
        let is_found = walk.function_start() == Some(function as u64);
        if walk.step().is_some() {
            return None;
        }
        if is_found {
            return Some(walk.registers());
        }
    }
}

/// A module, found by one of its segments.
#[derive(Clone, Copy)]
struct Place {
    module: Module,
    tables: Option<TableBytes>,
}

/// The frame has no caller, or none that can be found.
type Ended = StackState;

impl Walk {
    /// A walk that begins where `registers` were captured.
    pub(crate) fn new(registers: &Registers) -> Walk {
        let mut values = [0; REGISTER_COUNT];
        values[RIP] = registers.rip;
        values[RSP] = registers.rsp;
        values[RBP] = registers.rbp;
        values[RBX] = registers.rbx;
        values[12..16].copy_from_slice(&[registers.r12, registers.r13, registers.r14, registers.r15]);
        Walk { values, interrupted: true, probe: Probe::default(), place: None }
    }

    /// What the frame finds when it goes on.
    fn registers(&self) -> Registers {
        let [r12, r13, r14, r15] = [12, 13, 14, 15].map(|number| self.values[number]);
        let [rip, rsp, rbp, rbx] = [RIP, RSP, RBP, RBX].map(|number| self.values[number]);
        Registers { rip, rsp, rbp, rbx, r12, r13, r14, r15 }
    }

    /// Goes on to the first frame that is to be kept. If the own frames cannot be left, stays where it is.
    pub(crate) fn skip(&mut self, innermost: Innermost) {
        match innermost {
            Innermost::AtCapture => return,
            Innermost::AtCaller => {
                let mut caller = *self;
                if caller.step().is_none() {
                    *self = caller;
                }
                return;
            }
            Innermost::OutsideOwnModule => {}
        }
        let Some(own) = Module::own() else { return };
        let mut ahead = *self;
        for _ in 0..OWN_FRAMES_MAX {
            if !own.contains(ahead.code_address()) {
                *self = ahead;
                return;
            }
            if ahead.step().is_some() {
                return;
            }
        }
    }

    /// Where the frame's code goes on.
    pub(crate) fn pc(&self) -> u64 {
        self.values[RIP]
    }

    /// The frame's stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.values[RSP]
    }

    /// The frame pointer.
    fn bp(&self) -> u64 {
        self.values[RBP]
    }

    /// The address for the record. Readers take one off to come into the call; an interrupted instruction
    /// has one added, so that this leads back to it.
    pub(crate) fn return_address(&self) -> u64 {
        self.code_address().wrapping_add(1)
    }

    /// Goes on to the calling frame; how the stack ended if there is none.
    #[inline(never)]
    pub(crate) fn step(&mut self) -> Option<Ended> {
        match self.caller() {
            Ok(caller) => {
                *self = caller;
                None
            }
            Err(ended) => Some(ended),
        }
    }

    /// An address inside the instruction that the frame is at.
    fn code_address(&self) -> u64 {
        if self.interrupted { self.values[RIP] } else { self.values[RIP].wrapping_sub(1) }
    }

    /// Where the code of the function begins that the frame is of.
    fn function_start(&mut self) -> Option<u64> {
        let pc = self.code_address();
        self.find_place(pc);
        let fde = self.place.and_then(|place| place.tables?.parse())?.find(pc)?;
        Some(fde.initial_address())
    }

    /// Finds what `pc` lies in, if it is not what the last frame lay in. (That stays loaded meanwhile, as its code
    /// is running.)
    fn find_place(&mut self, pc: u64) {
        let is_same = |place: &Place| (place.module.segment.0..place.module.segment.1).contains(&pc);
        if self.place.as_ref().is_some_and(is_same) {
            return;
        }
        self.place = Module::find(pc).map(|module| {
            let tables = module.table_bytes(&mut self.probe);
            Place { module, tables }
        });
    }

    fn caller(mut self) -> Result<Walk, Ended> {
        let pc = self.code_address();
        self.find_place(pc);
        if let Some(tables) = self.place.and_then(|place| place.tables?.parse())
            && let Some(fde) = tables.find(pc)
        {
            let row = tables.row(&fde, pc).ok_or(StackState::Broken)?;
            return self.apply(&row, &tables, fde.is_signal_trampoline());
        }
        // The first code of all, which runs the libraries' constructors, has no tables and no caller.
        if self.place.is_some_and(|place| place.module.is_loader()) {
            return Err(StackState::Whole);
        }
        if let Some(values) = signal::interrupted_registers(&self.values, &mut self.probe) {
            return Ok(Walk { values, interrupted: true, ..self });
        }
        self.by_frame_pointer()
    }

    fn apply(mut self, row: &Row, tables: &cfi::Tables, signal: bool) -> Result<Walk, Ended> {
        let old = self.values;
        let cfa = match row.base {
            Base::Register { register, offset } => {
                old.get(register).map(|value| value.wrapping_add_signed(offset))
            }
            Base::Expression(expression) => tables.evaluate(expression, None, &old, &mut self.probe),
        };
        let cfa = cfa.ok_or(StackState::Broken)?;
        self.values[RSP] = cfa;
        for (number, rule) in row.rules.iter().enumerate() {
            let value = match *rule {
                Rule::Same => continue,
                Rule::Undefined if number == RIP => return Err(StackState::Whole),
                Rule::Undefined => continue,
                Rule::Offset(offset) => self.probe.word(cfa.wrapping_add_signed(offset)),
                Rule::ValOffset(offset) => Some(cfa.wrapping_add_signed(offset)),
                Rule::Register(register) => old.get(usize::from(register)).copied(),
                Rule::Expression(expression) => tables
                    .evaluate(expression, Some(cfa), &old, &mut self.probe)
                    .and_then(|address| self.probe.word(address)),
                Rule::ValExpression(expression) => {
                    tables.evaluate(expression, Some(cfa), &old, &mut self.probe)
                }
            };
            // A register that cannot be found may never be needed; the return address always is.
            match value {
                Some(value) => self.values[number] = value,
                None if number == RIP => return Err(StackState::Broken),
                None => {}
            }
        }
        self.interrupted = signal;
        self.checked(&old, signal)
    }

    /// Code without unwind tables (a JIT's, say) often keeps frame pointers.
    fn by_frame_pointer(mut self) -> Result<Walk, Ended> {
        let old = self.values;
        let frame = old[RBP];
        if frame < old[RSP] || !frame.is_multiple_of(8) {
            return Err(StackState::Broken);
        }
        self.values[RBP] = self.probe.word(frame).ok_or(StackState::Broken)?;
        self.values[RIP] = self.probe.word(frame + 8).ok_or(StackState::Broken)?;
        self.values[RSP] = frame + 16;
        self.interrupted = false;
        self.checked(&old, false)
    }

    /// The new frame, unless it is none: a zero return address ends a stack, and callers lie higher.
    fn checked(self, old: &Values, signal: bool) -> Result<Walk, Ended> {
        if self.values[RIP] == 0 {
            return Err(StackState::Whole);
        }
        // A signal handler may run on a stack of its own, above or below.
        if !signal && self.values[RSP] <= old[RSP] {
            return Err(StackState::Broken);
        }
        Ok(self)
    }
}

/// Where the module lies that this code is linked into.
pub(crate) fn own_range() -> Option<(u64, u64)> {
    Module::own().map(|own| (own.start, own.end))
}

/// Where the module lies that is mapped over `address`: its start and end.
pub fn module_range(address: u64) -> Option<(u64, u64)> {
    Module::find(address).map(|module| (module.start, module.end))
}

/// Whether a module (the program or a library) is mapped over `address`, as far as the loader tells.
pub(crate) fn is_in_module(address: u64) -> bool {
    Module::by_loader(address).is_some()
}

/// The file name of the module at `pc`, and the address in its file. The name is put into `buffer`.
pub(crate) fn module_name_and_offset(pc: u64, buffer: &mut [u8]) -> Option<(&[u8], u64)> {
    let module = Module::find(pc)?;
    let len = module.path(buffer, &mut Probe::default());
    let path = if len == 0 { module::program_path(buffer) } else { &buffer[..len] };
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    Some((name, pc.wrapping_sub(module.bias)))
}
