//! A thread heap: one bin per size class, and the two fast paths.

use crate::mailbox::{HeapIndex, Mailbox};
use crate::size_class::{CLASS_COUNT, CLASSES, TABLE_BYTES_MAX, UNIT_BYTES, class_of_units};
use crate::span::SpanHeader;
use crate::word::Word;
use core::cell::Cell;
use core::num::NonZeroUsize;
use core::ptr::{null, null_mut};
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

    /// The lowest available block of the bin's word, or null. The heap is busy meanwhile.
    #[inline(always)]
    pub(crate) fn take(&self) -> *mut u8 {
        // SAFETY: points to NO_BLOCKS or to a word of the bin's span, never unmapped.
        let word = unsafe { &*self.word.get() };
        match word.take() {
            Some(block) => self.base.get().wrapping_add(block as usize * self.block_bytes.get()),
            None => null_mut(),
        }
    }

    /// The bin's span and word.
    pub(crate) fn span(&self) -> Option<(usize, u32)> {
        self.span.get().checked_sub(1).map(|span| (span as usize, self.word_index.get()))
    }

    pub(crate) fn set(&self, span: usize, word_index: u32, word: &Word, base: *mut u8) {
        self.base.set(base);
        self.span.set(span as u32 + 1);
        self.word_index.set(word_index);
        self.word.set(word);
    }

    pub(crate) fn clear(&self) {
        self.word.set(&raw const NO_BLOCKS);
        self.span.set(0);
    }
}

/// Where the bin of a small size lies behind the first, in bytes, by 16-byte units.
static SMALL_BINS: [u16; TABLE_BYTES_MAX / UNIT_BYTES + 1] = {
    let mut places = [0; TABLE_BYTES_MAX / UNIT_BYTES + 1];
    let mut units = 0;
    while units < places.len() {
        places[units] = (class_of_units(units) * size_of::<Bin>()) as u16;
        units += 1;
    }
    places
};

const SENTINEL: HeapIndex = HeapIndex::MAX;

/// Spans of a class that have freed blocks, first in first out. Slice numbers + 1.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) first: Cell<u32>,
    pub(crate) last: Cell<u32>,
}

/// Where blocks and headers lie: a thread heap's own copy, so that a free finds it in the line that it reads anyway. Empty in a
/// sentinel and in a new heap; a free that fails on an old copy brings it up to date.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Map {
    /// Address of slice 0.
    pub(crate) base: Cell<usize>,
    /// Bytes from there whose headers are accessible.
    pub(crate) limit: Cell<usize>,
    pub(crate) headers: Cell<*const SpanHeader>,
}

/// The heap of a thread. Immortal: handed over whole when its thread ends.
///
/// Cells belong to whoever holds the heap's state ([`crate::mailbox::HeapState`]): its thread while it runs, a drainer or adopter
/// while it is busy. The atomics at the end belong to everybody.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct ThreadHeap {
    /// What every free reads: see [`Map`].
    pub(crate) map: Map,
    /// In malloc, or in a slow path: a signal handler that interrupts it must leave bins and lists alone. Always set in a sentinel.
    busy: Cell<bool>,
    pub(crate) bins: [Bin; CLASS_COUNT],
    /// Per bin: the words behind its present one that are exposed too.
    pub(crate) exposed: [Cell<u64>; CLASS_COUNT],
    /// One bit per class: the bin's span had its last visit for less than a share of free blocks.
    pub(crate) last_looks: Cell<u64>,
    pub(crate) queues: [Queue; CLASS_COUNT],
    pub(crate) index: Cell<HeapIndex>,
    /// Refills since the clock was read.
    pub(crate) polls: Cell<u32>,
    /// Change of the live-bytes estimate that was not added up yet.
    pub(crate) live_delta: Cell<i64>,
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
        ThreadHeap::new(SENTINEL, true)
    }

    const fn new(index: HeapIndex, busy: bool) -> Self {
        let mut bins = [const { Bin::new(0) }; CLASS_COUNT];
        let mut class = 0;
        while class < CLASS_COUNT {
            bins[class] = Bin::new(CLASSES[class].block_bytes as usize);
            class += 1;
        }
        ThreadHeap {
            map: Map { base: Cell::new(0), limit: Cell::new(0), headers: Cell::new(null()) },
            busy: Cell::new(busy),
            bins,
            exposed: [const { Cell::new(0) }; CLASS_COUNT],
            last_looks: Cell::new(0),
            queues: [const { Queue { first: Cell::new(0), last: Cell::new(0) } }; CLASS_COUNT],
            index: Cell::new(index),
            polls: Cell::new(0),
            live_delta: Cell::new(0),
            transit: AtomicPtr::new(null_mut()),
            shared: Shared { mailbox: Mailbox::unused(), next_orphan: AtomicU32::new(0) },
        }
    }

    /// A new heap with number `index`.
    pub(crate) const fn with_index(index: HeapIndex) -> Self {
        Self::new(index, false)
    }

    /// Whether this is the sentinel.
    #[inline]
    pub fn is_sentinel(&self) -> bool {
        self.index.get() == SENTINEL
    }

    /// What `owner_and_flags` of its spans holds while they have no flags.
    #[inline(always)]
    pub(crate) fn owner_word(&self) -> u64 {
        core::ptr::from_ref(self).addr() as u64
    }

    /// The heap with the address that a span's header holds.
    ///
    /// # Safety
    /// `address` is of a heap, which are never unmapped.
    pub(crate) unsafe fn at<'a>(address: NonZeroUsize) -> &'a ThreadHeap {
        // SAFETY: the caller's word; heaps were exposed when they were made.
        unsafe { &*core::ptr::with_exposed_provenance(address.get()) }
    }

    /// malloc's fast path: a block of at least `bytes`, or null if the bin's word is used up, or the heap is busy, or a sentinel.
    #[inline(always)]
    pub(crate) fn take_small(&self, bytes: usize) -> *mut u8 {
        if bytes > TABLE_BYTES_MAX || self.busy.get() {
            return null_mut();
        }
        // Shifts: a sum that cannot overflow here, which `div_ceil` would provide for.
        let place = SMALL_BINS[(bytes + UNIT_BYTES - 1) >> UNIT_BYTES.trailing_zeros()];
        // SAFETY: the table has places of bins.
        let bin = unsafe { self.bins.as_ptr().byte_add(usize::from(place)) };
        // SAFETY: as above.
        let bin = unsafe { &*bin };
        self.set_busy(true);
        let block = bin.take();
        self.set_busy(false);
        block
    }

    /// Whether malloc or a slow path of this heap is under way: then a signal handler has interrupted it, and has to
    /// allocate from another heap.
    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Marks the begin and end of malloc and of slow paths.
    #[inline(always)]
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
