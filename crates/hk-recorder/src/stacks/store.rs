//! Stacks as they are kept: laid down one behind the other, and never changed.

use crate::region::Words;
use crate::unwind::{STACK_FRAMES_MAX, Trace, module_of, return_address_of};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hk_format::StackState;

/// Words before a stack's frames: its hash, then count (8 bits), state (8), whether raw (1), generation (32).
const HEAD_WORDS: usize = 2;
const STATE_SHIFT: u32 = 8;
const RAW_SHIFT: u32 = 16;
const GENERATION_SHIFT: u32 = 32;

/// The stacks' part of the region: from `start` to the end of what is mapped.
pub(super) struct Store {
    start: usize,
    /// Words that are taken. The first is not used, so that no stack has the id 0.
    taken: AtomicU32,
}

/// A stack that is kept. Its id is the index of its first word.
pub(super) struct Kept {
    hash: u64,
    head: u64,
    frames: &'static [AtomicU64],
}

impl Store {
    pub(super) const fn new(start: usize) -> Self {
        Store { start, taken: AtomicU32::new(1) }
    }

    /// Lays a stack down, to be published by whoever gets its id. None if there is no room.
    #[inline(never)]
    pub(super) fn lay_down(&self, words: Words, trace: &Trace, hash: u64, generation: u64) -> Option<u32> {
        let frames = trace.words();
        let len = HEAD_WORDS + frames.len();
        let room = words.len().saturating_sub(self.start).min(u32::MAX as usize - 1);
        // Relaxed: the number alone is shared; the words are published by the index.
        let claimed = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken as usize + len <= room).then(|| taken + len as u32)
        });
        let id = claimed.ok()?;
        let head = frames.len() as u64
            | ((trace.state as u64) << STATE_SHIFT)
            | (u64::from(trace.is_raw()) << RAW_SHIFT)
            | (generation << GENERATION_SHIFT);
        let to = words.part(self.start + id as usize, len)?;
        for (to, &word) in to.iter().zip([hash, head].iter().chain(frames)) {
            // Relaxed: published by the release with which the index enters the id.
            to.store(word, Ordering::Relaxed);
        }
        Some(id)
    }

    /// Takes back what was laid down last, if nothing was since: the stack was there already.
    pub(super) fn take_back(&self, id: u32, trace: &Trace) {
        let end = id + (HEAD_WORDS + trace.words().len()) as u32;
        // Relaxed: as in `lay_down`. Nobody else has seen the id.
        let _ = self.taken.compare_exchange(end, id, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The stack with an id.
    #[inline(always)]
    pub(super) fn get(&self, words: Words, id: u32) -> Option<Kept> {
        let start = self.start + id as usize;
        let [hash, head] = words.part(start, HEAD_WORDS)? else { return None };
        // Relaxed: a stack does not change, and whoever has its id has it from the index, or from somebody who
        // has; likewise the next.
        let head = head.load(Ordering::Relaxed);
        let count = (head as usize & 0xff).min(STACK_FRAMES_MAX);
        let frames = words.part(start + HEAD_WORDS, count)?;
        Some(Kept { hash: hash.load(Ordering::Relaxed), head, frames })
    }

    /// Bytes that are taken.
    pub(super) fn bytes(&self) -> u64 {
        // Relaxed: a figure.
        u64::from(self.taken.load(Ordering::Relaxed)) * size_of::<u64>() as u64
    }
}

impl Kept {
    /// Whether this is the stack of `trace`, which has that hash.
    #[inline(always)]
    pub(super) fn is(&self, trace: &Trace, hash: u64) -> bool {
        let words = trace.words();
        self.hash == hash
            && self.frames.len() == words.len()
            && (self.head >> STATE_SHIFT) & 0xff == trace.state as u64
            && (self.head >> RAW_SHIFT) & 1 == u64::from(trace.is_raw())
            // Relaxed: as in `get`.
            && self.frames.iter().zip(words).all(|(kept, word)| kept.load(Ordering::Relaxed) == *word)
    }

    /// Return addresses, innermost first.
    pub(super) fn frames(&self) -> impl Iterator<Item = u64> {
        let raw = self.is_raw();
        // Relaxed: as in `get`.
        self.frames.iter().map(move |word| return_address_of(word.load(Ordering::Relaxed), raw))
    }

    /// For each frame the number of its module, 0 if none is known.
    pub(super) fn modules(&self) -> impl Iterator<Item = u64> + Clone {
        let raw = self.is_raw();
        // Relaxed: as in `get`.
        self.frames.iter().map(move |word| module_of(word.load(Ordering::Relaxed), raw))
    }

    /// How the stack ended.
    pub(super) fn state(&self) -> StackState {
        let states = [StackState::Absent, StackState::Whole, StackState::Cut, StackState::Broken];
        states[((self.head >> STATE_SHIFT) & 3) as usize]
    }

    /// The generation that it was first seen in.
    pub(super) fn generation(&self) -> u32 {
        (self.head >> GENERATION_SHIFT) as u32
    }

    fn is_raw(&self) -> bool {
        (self.head >> RAW_SHIFT) & 1 != 0
    }
}
