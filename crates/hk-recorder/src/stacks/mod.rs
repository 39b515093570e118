//! The stack of every allocation and free, as one number.
//!
//! A stack is walked by rules that are known ([`crate::unwind`]) and kept once, however often it is seen. All
//! may be called in any thread, in a signal handler that interrupted the same code, and in a fork child: what
//! is shared is atomics, whose changes take effect by one instruction each, and nobody waits for anybody.
//! Memory is a region of its own, mapped at the first capture.

mod index;
mod store;
#[cfg(test)]
#[allow(unsafe_code, reason = "signals, foreign functions")]
mod tests_of_keeping;
#[cfg(test)]
#[allow(unsafe_code, reason = "signals, foreign functions")]
mod tests_of_reading;
#[cfg(test)]
#[allow(unsafe_code, reason = "signals, foreign functions")]
mod tests_of_walking;

use crate::maps::for_each_file_with_code;
use crate::region::{Region, Words};
use crate::registers::{Innermost, Registers};
use crate::stack_words::ReadableStacks;
use crate::unwind::{LOG_END, ModuleEntry, ModuleLog, RuleCache, Trace, Walker, own_range};
use core::sync::atomic::{AtomicU64, Ordering};
use hk_format::{ModuleHeader, StackState};
use index::{INDEX_WORDS, Index, Stack};
use store::{Kept, Store};
use zerocopy::FromBytes;

const WORD_BYTES: usize = size_of::<u64>();
/// Where the stacks begin in the region, in words.
const STORE_START: usize = LOG_END + INDEX_WORDS;
/// Room for stacks: a quarter of a million of thirty frames.
const STORE_BYTES: usize = 64 << 20;
/// What region sizes are rounded up to.
const REGION_ALIGN_BYTES: usize = 64 << 10;

/// Names a stack; it means something only beside the [`Stacks`] that it is from, and in fork children of the
/// process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct StackId(u32);

impl StackId {
    /// No stack: none was taken, or there was no room for it.
    pub const NONE: StackId = StackId(0);

    /// The number, to be kept with a block.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The id that [`StackId::get`] gave.
    pub const fn from_number(number: u32) -> StackId {
        StackId(number)
    }

    /// Whether there is no stack.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// A module that frames of a stack lie in; it may have been unloaded since.
#[derive(Clone, Copy, Debug)]
pub struct StackModule<'a> {
    /// Addresses and build id.
    pub header: ModuleHeader,
    /// Path as the loader knew it; empty for the program itself.
    pub path: &'a [u8],
    /// The generation in which it was first seen.
    pub first_generation: u32,
}

/// The stacks of a process. Meant to be a static.
pub struct Stacks {
    rules: RuleCache,
    readable: ReadableStacks,
    modules: ModuleLog,
    index: Index,
    store: Store,
    region: Region,
    /// One more than how often code may have gone.
    generation: AtomicU64,
    /// How often code may have come.
    loads: AtomicU64,
    dropped: AtomicU64,
    /// Where the module lies that this code is linked into; both 0 until it was looked up.
    own_start: AtomicU64,
    own_end: AtomicU64,
}

impl Stacks {
    /// No stacks yet, and no memory taken.
    pub const fn new() -> Self {
        Self::with_room(STORE_BYTES)
    }

    const fn with_room(store_bytes: usize) -> Self {
        let bytes = (STORE_START * WORD_BYTES + store_bytes).next_multiple_of(REGION_ALIGN_BYTES);
        Stacks {
            rules: RuleCache::new(),
            readable: ReadableStacks::new(),
            modules: ModuleLog::new(),
            index: Index::new(LOG_END),
            store: Store::new(STORE_START),
            region: Region::new(bytes),
            generation: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            own_start: AtomicU64::new(0),
            own_end: AtomicU64::new(0),
        }
    }

    /// The stack from `registers` on, which were captured in a function that is still running.
    #[inline]
    pub fn capture(&self, registers: &Registers, innermost: Innermost) -> StackId {
        let Some(words) = self.region.words_or_map() else { return self.drop_one() };
        // Relaxed: whoever needs the new generation has it from the call that changed it, by program order or
        // by whatever told him that the code is there.
        let generation = self.generation.load(Ordering::Relaxed);
        let trace = self.trace(words, generation, registers, innermost);
        self.keep(words, generation, &trace)
    }

    #[inline]
    fn keep(&self, words: Words, generation: u64, trace: &Trace) -> StackId {
        let hash = trace.hash();
        let mut wanted = Wanted { stacks: self, words, trace, hash, generation, laid_down: None };
        let found = self.index.find_or_add(words, hash, &mut wanted);
        if let Some(ours) = wanted.laid_down
            && found != Some(ours)
        {
            self.store.take_back(ours, trace);
        }
        found.map_or_else(|| self.drop_one(), StackId)
    }

    fn trace(&self, words: Words, generation: u64, registers: &Registers, innermost: Innermost) -> Trace {
        let own = if innermost == Innermost::OutsideOwnModule { self.own() } else { (0, 0) };
        // Relaxed: as the generation.
        let loads = self.loads.load(Ordering::Relaxed);
        let (rules, modules) = (&self.rules, &self.modules);
        let walker = Walker { rules, modules, words, generation, loads, own };
        walker.trace(registers, innermost, self.readable.reader(registers.rsp))
    }

    /// The frames of a stack (return addresses, innermost first), as many as there is room for, at most [`STACK_FRAMES_MAX`](crate::STACK_FRAMES_MAX): how many, and how the
    /// stack ended. None, and `Absent`, if there is no such stack.
    pub fn frames(&self, id: StackId, out: &mut [u64]) -> (usize, StackState) {
        let Some((_, kept)) = self.kept(id) else { return (0, StackState::Absent) };
        let mut count = 0;
        for (to, frame) in out.iter_mut().zip(kept.frames()) {
            *to = frame;
            count += 1;
        }
        (count, kept.state())
    }

    /// The innermost frame; None if there is no such stack.
    pub fn first_frame(&self, id: StackId) -> Option<u64> {
        let mut frame = [0];
        (self.frames(id, &mut frame).0 == 1).then_some(frame[0])
    }

    /// The generation in which a stack was first seen; 0 if there is no such stack.
    pub fn generation_of(&self, id: StackId) -> u32 {
        self.kept(id).map_or(0, |(_, kept)| kept.generation())
    }

    /// Calls `f` with each module that frames of a stack lie in, as it was when the stack was first seen.
    pub fn for_each_module_of(&self, id: StackId, mut f: impl FnMut(&StackModule<'_>)) {
        self.for_each_entry_of(id, |entry, first_generation| {
            if let Ok((header, path)) = ModuleHeader::read_from_prefix(entry.bytes()) {
                let path = &path[..(header.path_len as usize).min(path.len())];
                f(&StackModule { header, path, first_generation: first_generation as u32 });
            }
        });
    }

    pub(crate) fn for_each_entry_of(&self, id: StackId, mut f: impl FnMut(&ModuleEntry, u64)) {
        let Some((words, kept)) = self.kept(id) else { return };
        for (index, number) in kept.modules().enumerate() {
            if number == 0 || kept.modules().take(index).any(|earlier| earlier == number) {
                continue;
            }
            if let Some((entry, first_generation)) = self.modules.entry(words, number) {
                f(&entry, first_generation);
            }
        }
    }

    /// Calls `found` with each module of the process, as the words of a [`ModuleHeader`] and the path behind it: those that are mapped, and those that
    /// frames of stacks lie in and that are gone. Takes no lock of the loader's.
    pub fn for_each_module(&self, mut found: impl FnMut(&[u64])) {
        for_each_file_with_code(|start, path| {
            ModuleEntry::of_file(start, path).iter().for_each(|entry| found(entry.words()));
        });
        let Some(words) = self.region.words() else { return };
        self.modules.for_each(words, |logged| {
            let present = ModuleEntry::of_file(logged.range().0, b"");
            if !present.is_some_and(|present| present.is_same_module(logged)) {
                found(logged.words());
            }
        });
    }

    /// All numbers of stacks are below this.
    pub fn number_limit(&self) -> usize {
        self.store.bytes() as usize / WORD_BYTES
    }

    /// Says that modules were unloaded: call it before and after `dlclose`. (After: the place is free for others.
    /// Before: what was found while the modules were finalised is of no use either if another thread loads
    /// one there at once.) What is known of program counters is found anew; stacks and modules stay.
    pub fn modules_changed(&self) {
        // Relaxed: see `capture`.
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that modules were loaded: call it after `dlopen`. It costs little: only what is known of code that
    /// was in no module is found anew.
    pub fn modules_loaded(&self) {
        // Relaxed: see `capture`.
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that the calling thread ends, so that its stack may be unmapped soon. It may still capture.
    pub fn thread_ends(&self) {
        self.readable.forget_thread();
    }

    /// How many stacks had no room.
    pub fn dropped(&self) -> u64 {
        // Relaxed: a figure.
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes that stacks take.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
    }

    #[inline]
    fn kept(&self, id: StackId) -> Option<(Words, Kept)> {
        let words = self.region.words().filter(|_| !id.is_none())?;
        Some((words, self.store.get(words, id.0)?))
    }

    #[cold]
    #[inline(never)]
    fn drop_one(&self) -> StackId {
        // Relaxed: a figure.
        self.dropped.fetch_add(1, Ordering::Relaxed);
        StackId::NONE
    }

    fn own(&self) -> (u64, u64) {
        // Acquire: pairs with the release below: the end is there with the start.
        match self.own_start.load(Ordering::Acquire) {
            0 => {
                let (start, end) = own_range().unwrap_or((1, 1));
                // Relaxed: published by the next. All who look it up find the same.
                self.own_end.store(end, Ordering::Relaxed);
                // Release: see above.
                self.own_start.store(start, Ordering::Release);
                (start, end)
            }
            // Relaxed: acquired with the start.
            start => (start, self.own_end.load(Ordering::Relaxed)),
        }
    }
}

impl Default for Stacks {
    fn default() -> Self {
        Self::new()
    }
}

/// A stack that is looked for.
struct Wanted<'a> {
    stacks: &'a Stacks,
    words: Words,
    trace: &'a Trace,
    hash: u64,
    generation: u64,
    laid_down: Option<u32>,
}

impl Stack for Wanted<'_> {
    #[inline(always)]
    fn is(&self, id: u32) -> bool {
        self.stacks.store.get(self.words, id).is_some_and(|kept| kept.is(self.trace, self.hash))
    }

    fn id(&mut self) -> Option<u32> {
        if self.laid_down.is_none() {
            self.laid_down = self.stacks.store.lay_down(self.words, self.trace, self.hash, self.generation);
        }
        self.laid_down
    }
}
