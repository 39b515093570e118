//! Walking by rules that are known: some nanoseconds a frame.
//!
//! A frame's caller needs the stack pointer and the frame pointer alone, in nearly all code. [`RuleCache`] has
//! the rule for a program counter, or it is made from the unwind tables ([`super::cfi`]) and put there. At a
//! signal trampoline both, and the program counter, are read from where the kernel put them. Where that does not
//! do (other registers, expressions) the exact [`Walk`] is taken from the start to past that frame. What comes out
//! is what the exact walk gives, frame by frame, and how the stack ends.

#[cfg(test)]
extern crate std;

use super::module::Module;
use super::module_log::ModuleLog;
use super::rule::{PackedRule, RuleKind, Trampoline};
use super::rule_cache::RuleCache;
use super::trace::Trace;
use super::{Ended, Walk, signal};
use crate::probe::Probe;
use crate::region::Words;
use crate::registers::{Innermost, Registers};
use crate::stack_words::StackReader;
use hk_format::StackState;

#[cfg(test)]
std::thread_local! {
    /// How often a thread had to take an exact step.
    pub(crate) static EXACT_STEPS: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// What a walk is made with.
pub(crate) struct Walker<'a> {
    pub(crate) rules: &'a RuleCache,
    pub(crate) modules: &'a ModuleLog,
    /// Where the modules' log is kept.
    pub(crate) words: Words,
    /// How often modules have been unloaded.
    pub(crate) generation: u64,
    /// How often they have been loaded.
    pub(crate) loads: u64,
    /// Where the module lies that this code is linked into.
    pub(crate) own: (u64, u64),
}

/// A frame: what is needed to find its caller.
#[derive(Clone, Copy)]
struct Position {
    pc: u64,
    sp: u64,
    bp: u64,
    /// See [`Walk`].
    interrupted: bool,
}

/// The exact walk, as far as it was needed, and how many steps that was.
type Exact = Option<(Walk, usize)>;

impl Walker<'_> {
    /// The stack from `registers` on.
    #[inline(never)]
    pub(crate) fn trace(
        &self,
        registers: &Registers,
        innermost: Innermost,
        mut reader: StackReader<'_>,
    ) -> Trace {
        let mut trace = Trace::new();
        let mut at = Position { pc: registers.rip, sp: registers.rsp, bp: registers.rbp, interrupted: true };
        let mut exact: Exact = None;
        let mut steps = 0;
        let mut skipping = innermost != Innermost::AtCapture;
        trace.state = loop {
            let code = at.code_address();
            let rule = match self.rules.get(code, self.generation) {
                Some(rule) if !rule.is_old_guess(self.loads) => rule,
                _ => self.find_rule(code),
            };
            // If the frames to be skipped cannot be left, all are kept.
            if skipping && self.is_wanted(innermost, steps, code) {
                skipping = false;
                trace.restart();
            }
            trace.push(code.wrapping_add(1), rule.module());
            let stepped = if !rule.needs_more() {
                at.step(rule, &mut reader)
            } else {
                at.step_specially(rule, &mut reader, registers, &mut exact, steps)
            };
            if let Some(ended) = stepped {
                break ended;
            }
            steps += 1;
            if trace.is_full() {
                break StackState::Cut;
            }
        };
        trace
    }

    /// Whether the frame at `code`, so many steps from the capture, is the innermost to be kept.
    fn is_wanted(&self, innermost: Innermost, steps: usize, code: u64) -> bool {
        match innermost {
            Innermost::AtCapture => true,
            Innermost::AtCaller => steps == 1,
            Innermost::OutsideOwnModule => !(self.own.0 <= code && code < self.own.1),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_rule(&self, code: u64) -> PackedRule {
        let module = Module::find(code);
        let number = module.map_or(0, |module| self.modules.number_of(self.words, &module, self.generation));
        let rule = rule_at(code, module.as_ref(), self.loads).with(number, self.generation);
        self.rules.put(code, self.generation, rule);
        rule
    }
}

/// What [`Walk`] would do at `pc`.
fn rule_at(pc: u64, module: Option<&Module>, loads: u64) -> PackedRule {
    let mut probe = Probe::default();
    if let Some(tables) = module.and_then(|module| module.unwind_tables(&mut probe))
        && let Some(fde) = tables.find(pc)
    {
        let broken = PackedRule::plain(RuleKind::Broken);
        let row = tables.row(&fde, pc);
        return row.map_or(broken, |row| PackedRule::of_row(&row, &tables, pc, fde.is_signal_trampoline()));
    }
    if module.is_some_and(Module::is_loader) {
        return PackedRule::plain(RuleKind::End);
    }
    trampoline_at(pc, module, &mut probe).unwrap_or(PackedRule::guess(loads))
}

/// The rule at `pc` if a trampoline without tables begins there, or after it.
fn trampoline_at(pc: u64, module: Option<&Module>, probe: &mut Probe) -> Option<PackedRule> {
    // The program counter is `pc` if the frame was interrupted, and else the next.
    let trampoline = if signal::is_trampoline(pc, probe) {
        Trampoline::Interrupted
    } else if signal::is_trampoline(pc.wrapping_add(1), probe) {
        Trampoline::ReturnedTo
    } else {
        return None;
    };
    // What was generated at run time may be something else by the next time.
    let rule = module.and_then(|_| PackedRule::signal(0, trampoline));
    Some(rule.unwrap_or(PackedRule::plain(RuleKind::Complicated)))
}

impl Position {
    /// An address inside the instruction that the frame is at.
    #[inline(always)]
    fn code_address(&self) -> u64 {
        if self.interrupted { self.pc } else { self.pc.wrapping_sub(1) }
    }

    /// Goes on to the calling frame; how the stack ended if there is none.
    #[inline(always)]
    fn step(&mut self, rule: PackedRule, reader: &mut StackReader<'_>) -> Option<Ended> {
        let base = if rule.is(RuleKind::StackPointer) {
            self.sp
        } else if rule.is(RuleKind::FramePointer) {
            self.bp
        } else {
            return self.step_rarely(rule, reader);
        };
        let cfa = base.wrapping_add(rule.cfa_offset());
        self.return_to(cfa, rule.saved_below(), reader)
    }

    #[inline(always)]
    fn return_to(&mut self, cfa: u64, saved_below: u64, reader: &mut StackReader<'_>) -> Option<Ended> {
        let Some(pc) = reader.word(cfa.wrapping_sub(8)) else { return Some(StackState::Broken) };
        // A frame pointer that cannot be found may never be needed.
        if saved_below != 0
            && let Some(bp) = reader.word(cfa.wrapping_sub(saved_below))
        {
            self.bp = bp;
        }
        if pc == 0 {
            return Some(StackState::Whole);
        }
        if cfa <= self.sp {
            return Some(StackState::Broken);
        }
        (self.pc, self.sp, self.interrupted) = (pc, cfa, false);
        None
    }

    #[cold]
    #[inline(never)]
    fn step_rarely(&mut self, rule: PackedRule, reader: &mut StackReader<'_>) -> Option<Ended> {
        if rule.is(RuleKind::End) {
            return Some(StackState::Whole);
        }
        if rule.is(RuleKind::Aligned) {
            let kept = reader.word(self.bp.wrapping_sub(rule.cfa_offset()));
            let Some(cfa) = kept else { return Some(StackState::Broken) };
            self.bp = reader.word(self.bp).unwrap_or(self.bp);
            return self.return_to(cfa, 0, reader);
        }
        if !rule.is(RuleKind::Guess) || self.bp < self.sp || !self.bp.is_multiple_of(8) {
            return Some(StackState::Broken);
        }
        let frame = self.bp;
        // Both have to be there: it is a guess that this is a frame at all.
        if reader.word(frame).is_none() {
            return Some(StackState::Broken);
        }
        self.return_to(frame.wrapping_add(16), 16, reader)
    }

    /// [`Position::step`] where more has to be known.
    #[cold]
    #[inline(never)]
    fn step_specially(
        &mut self,
        rule: PackedRule,
        reader: &mut StackReader<'_>,
        registers: &Registers,
        exact: &mut Exact,
        steps: usize,
    ) -> Option<Ended> {
        if self.step_out_of_handler(rule, reader) {
            return None;
        }
        self.step_exactly(registers, exact, steps)
    }

    /// Goes on to the frame that a signal interrupted. Stays, and says so, if the rule is not one for that, or
    /// something is odd.
    fn step_out_of_handler(&mut self, rule: PackedRule, reader: &mut StackReader<'_>) -> bool {
        if !rule.is(RuleKind::Signal) || !rule.is_for(self.interrupted) {
            return false;
        }
        let context = self.sp.wrapping_add(rule.cfa_offset());
        let Some(frame) = signal::interrupted_frame(context, reader).filter(|frame| frame.pc != 0) else {
            return false;
        };
        // The handler may have run on a stack of its own.
        reader.follow(frame.sp);
        *self = Position { pc: frame.pc, sp: frame.sp, bp: frame.bp, interrupted: true };
        true
    }

    #[inline(never)]
    fn step_exactly(&mut self, registers: &Registers, exact: &mut Exact, steps: usize) -> Option<Ended> {
        #[cfg(test)]
        EXACT_STEPS.set(EXACT_STEPS.get() + 1);
        let (walk, done) = exact.get_or_insert_with(|| (Walk::new(registers), 0));
        while *done <= steps {
            if let Some(ended) = walk.step() {
                return Some(ended);
            }
            *done += 1;
        }
        *self = Position { pc: walk.pc(), sp: walk.sp(), bp: walk.bp(), interrupted: walk.interrupted };
        None
    }
}
