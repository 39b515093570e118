//! The frames of one stack, as they are gathered.

use super::rule_cache::PC_BITS;
use hk_format::StackState;

/// Frames of a stack that are kept at most.
pub const STACK_FRAMES_MAX: usize = 64;
/// Above the bits of a program counter: the module's number.
const MODULE_SHIFT: u32 = 48;
const _: () = assert!(PC_BITS < MODULE_SHIFT);
/// What the hash begins with, and what it is multiplied by at each step (as in FxHash).
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;

/// A stack with its hash.
pub(crate) struct Trace {
    /// Return addresses with the numbers of their modules above, as long as all have room for it.
    words: [u64; STACK_FRAMES_MAX],
    count: usize,
    hash: u64,
    raw: bool,
    pub(crate) state: StackState,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace { words: [0; STACK_FRAMES_MAX], count: 0, hash: SEED, raw: false, state: StackState::Absent }
    }

    /// A stack of these frames, in no module, that ended whole.
    #[cfg(test)]
    pub(crate) fn of_frames(frames: &[u64]) -> Trace {
        let mut trace = Trace::new();
        frames.iter().for_each(|&frame| trace.push(frame, 0));
        trace.state = StackState::Whole;
        trace
    }

    /// Drops what was gathered.
    pub(super) fn restart(&mut self) {
        (self.count, self.hash, self.raw) = (0, SEED, false);
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == STACK_FRAMES_MAX
    }

    /// Adds a frame in the module of that number.
    #[inline(always)]
    pub(super) fn push(&mut self, return_address: u64, module: u64) {
        if return_address >> PC_BITS != 0 || self.raw {
            return self.push_raw(return_address);
        }
        self.put(return_address | (module << MODULE_SHIFT));
    }

    #[inline(always)]
    fn put(&mut self, word: u64) {
        if let Some(to) = self.words.get_mut(self.count) {
            *to = word;
            self.count += 1;
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
        }
    }

    /// A damaged stack may lead to an address that no code can have: it is kept as it is, and modules are not.
    #[cold]
    #[inline(never)]
    fn push_raw(&mut self, return_address: u64) {
        if !self.raw {
            self.raw = true;
            for word in &mut self.words[..self.count] {
                *word = return_address_of(*word, false);
            }
        }
        self.put(return_address);
    }

    /// The words that stand for the frames.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..self.count]
    }

    /// Whether words are bare addresses.
    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    /// Tells the stack, with how it ends, from others; all bits are good.
    pub(crate) fn hash(&self) -> u64 {
        let ends = self.hash ^ self.state as u64 ^ ((self.count as u64) << 8);
        let mixed = (ends ^ (ends >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

/// The return address in a word.
pub(crate) fn return_address_of(word: u64, raw: bool) -> u64 {
    if raw { word } else { word & ((1 << MODULE_SHIFT) - 1) }
}

/// The module's number in a word; 0 if none is known.
pub(crate) fn module_of(word: u64, raw: bool) -> u64 {
    if raw { 0 } else { word >> MODULE_SHIFT }
}
