//! A thread heap: one bin per size class, and the two fast paths.

use crate::mailbox::{HeapIndex, Mailbox};
use crate::size_class::{CLASS_COUNT, CLASSES};
use crate::span::owner_word;
use crate::word::Word;
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering, compiler_fence};

/// A word without free blocks: what bins look at before they have a span.
pub static NO_BLOCKS: Word = Word::empty();

/// Where a class's blocks come from now.
#[derive(Debug)]
#[repr(C)]
pub struct Bin {
    /// The word that malloc takes from.
    word: Cell<*const Word>,
    /// Block 0 of that word.
    base: Cell<*mut u8>,
    block_bytes: Cell<usize>,
    /// The span + 1; 0 for none.
    span: Cell<u32>,
    /// Number of the word in its span.
    word_index: Cell<u32>,
}

impl Bin {
    const fn new(block_bytes: usize) -> Self {
        Bin {
            word: Cell::new(&raw const NO_BLOCKS),
            base: Cell::new(null_mut()),
            block_bytes: Cell::new(block_bytes),
            span: Cell::new(0),
            word_index: Cell::new(0),
        }
    }

    /// malloc's fast path: the lowest available block, or null. `signals`: whether a handler may interrupt, and
    /// refill the bin.
    #[inline(always)]
    pub fn take(&self, signals: bool) -> *mut u8 {
        let (mut word, mut base) = (self.word.get(), self.base.get());
        // Word and base have to belong together. A handler that refills after this look leaves the old word empty, or
        // as it was.
        while signals && self.changed_since(word) {
            (word, base) = (self.word.get(), self.base.get());
        }
        // SAFETY: points to NO_BLOCKS or to a word of the bin's span, never unmapped.
        let word = unsafe { &*word };
        match word.take(signals) {
            Some(block) => base.wrapping_add(block as usize * self.block_bytes.get()),
            None => null_mut(),
        }
    }

    #[inline(always)]
    fn changed_since(&self, word: *const Word) -> bool {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: a cell of our own; volatile, as a signal handler may have written it since.
        unsafe { self.word.as_ptr().read_volatile() != word }
    }

    /// The bin's span and word.
    pub(crate) fn span(&self) -> Option<(usize, u32)> {
        self.span.get().checked_sub(1).map(|span| (span as usize, self.word_index.get()))
    }

    pub(crate) fn set(&self, span: usize, word_index: u32, word: &Word, base: *mut u8) {
        self.base.set(base);
        self.span.set(span as u32 + 1);
        self.word_index.set(word_index);
        // Last: a signal handler's malloc looks at the word first, and the old one is empty.
        compiler_fence(Ordering::Release);
        self.word.set(word);
    }

    pub(crate) fn clear(&self) {
        self.word.set(&raw const NO_BLOCKS);
        self.span.set(0);
    }
}

/// Spans of a class that have freed blocks, first in first out. Slice numbers + 1.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) first: Cell<u32>,
    pub(crate) last: Cell<u32>,
}

/// The heap of a thread. Immortal: handed over whole when its thread ends.
///
/// Cells belong to whoever holds the heap's state ([`crate::mailbox::HeapState`]): its thread while it runs, a drainer or adopter
/// while it is busy. The atomics at the end belong to everybody.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct ThreadHeap {
    /// What `owner_and_flags` of its spans holds in manual mode.
    pub(crate) me: Cell<u64>,
    pub(crate) bins: [Bin; CLASS_COUNT],
    pub(crate) queues: [Queue; CLASS_COUNT],
    pub(crate) index: Cell<HeapIndex>,
    /// Refills since the clock was read.
    pub(crate) polls: Cell<u32>,
    /// Change of the live-bytes estimate that was not added up yet.
    pub(crate) live_delta: Cell<i64>,
    /// In a slow path: a signal handler that interrupts it must leave the lists alone.
    pub(crate) busy: Cell<bool>,
    /// The word whose remote bits are being claimed, for who looks at a stopped thread; else null.
    pub(crate) transit: AtomicPtr<Word>,

    pub(crate) shared: Shared,
}

/// What others write; on cache lines of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox,
    /// Next orphan + 1. Under the central lock.
    pub(crate) next_orphan: AtomicU32,
}

// SAFETY: see the type: cells are accessed by the holder of the heap's state only, and states change by
// compare-and-swap with acquire and release.
unsafe impl Sync for ThreadHeap {}

impl ThreadHeap {
    /// The sentinel: the heap of a thread that has none. Its bins are empty and it owns no span, so that both
    /// fast paths fail on it. Never written.
    pub const fn sentinel() -> ThreadHeap {
        ThreadHeap::new(u64::MAX, 0)
    }

    const fn new(me: u64, index: HeapIndex) -> Self {
        let mut bins = [const { Bin::new(0) }; CLASS_COUNT];
        let mut class = 0;
        while class < CLASS_COUNT {
            bins[class] = Bin::new(CLASSES[class].block_bytes as usize);
            class += 1;
        }
        ThreadHeap {
            me: Cell::new(me),
            bins,
            queues: [const { Queue { first: Cell::new(0), last: Cell::new(0) } }; CLASS_COUNT],
            index: Cell::new(index),
            polls: Cell::new(0),
            live_delta: Cell::new(0),
            busy: Cell::new(false),
            transit: AtomicPtr::new(null_mut()),
            shared: Shared { mailbox: Mailbox::unused(), next_orphan: AtomicU32::new(0) },
        }
    }

    /// A new heap with number `index`.
    pub(crate) const fn with_index(index: HeapIndex) -> Self {
        Self::new(owner_word(index), index)
    }

    /// Whether this is the sentinel.
    #[inline]
    pub fn is_sentinel(&self) -> bool {
        self.me.get() == u64::MAX
    }

    /// Whether a slow path of this heap is under way: then a signal handler has interrupted it, and has to
    /// allocate from another heap.
    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Marks the begin and end of a slow path.
    pub(crate) fn set_busy(&self, busy: bool) {
        compiler_fence(Ordering::SeqCst);
        self.busy.set(busy);
        compiler_fence(Ordering::SeqCst);
    }

    /// Number of the heap.
    pub fn index(&self) -> HeapIndex {
        self.index.get()
    }

    pub(crate) fn set_transit(&self, word: *mut Word) {
        self.transit.store(word, Ordering::Relaxed);
    }
}
