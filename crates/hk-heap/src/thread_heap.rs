//! A thread heap: one bin per size class, and the two fast paths.

use crate::bin::{Bin, Cursor};
use crate::idle_pages::IdleLook;
use crate::mailbox::{HeapIndex, Mailbox};
use crate::pace::Pace;
use crate::sampling::Sampler;
use crate::size_class::{CLASS_COUNT, TABLE_BYTES_MAX, UNIT_BYTES, class_of_units};
use crate::span::SpanHeader;
use crate::word::Word;
use core::cell::Cell;
use core::num::NonZeroUsize;
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering, compiler_fence};

const PLACE_COUNT: usize = TABLE_BYTES_MAX / UNIT_BYTES + 1;

/// See [`ThreadHeap::places`].
const PLACES: [u16; PLACE_COUNT] = {
    let mut places = [0; PLACE_COUNT];
    let mut units = 0;
    while units < places.len() {
        places[units] = (class_of_units(units) * size_of::<Bin>()) as u16;
        units += 1;
    }
    places
};

/// See [`ThreadHeap::small_end`].
const SMALL_END: usize = TABLE_BYTES_MAX + 1;
const SMALL_END_BUSY: usize = 0;

/// What the fast path of malloc came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastAllocate {
    /// Here is a block.
    Block(*mut u8),
    /// The word of this class's bin is used up; call [`crate::Heap::allocate_next`]. The heap stays busy until then: a signal handler
    /// in between would refill the bin.
    Refill(usize),
    /// The size is not small, or the heap is busy, or it is a sentinel.
    Slow,
}

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
    /// The fast path serves requests of fewer bytes: none while the heap is busy, that is, in malloc or a slow path. A signal handler
    /// that interrupts that must leave bins and lists alone. A sentinel is always busy. So one comparison serves for both.
    small_end: Cell<usize>,
    /// Where the bin of a small size lies behind the first, in bytes, by 16-byte units. Here, not in a static, as that would take an
    /// instruction more to address.
    places: [u16; PLACE_COUNT],
    pub(crate) bins: [Bin; CLASS_COUNT],
    pub(crate) cursors: [Cursor; CLASS_COUNT],
    pub(crate) queues: [Queue; CLASS_COUNT],
    pub(crate) index: Cell<HeapIndex>,
    pub(crate) pace: Pace,
    pub(crate) sampler: Sampler,
    /// Spans of its own.
    pub(crate) span_count: Cell<u32>,
    pub(crate) idle_look: IdleLook,
    /// Change of the live-bytes estimate that was not added up yet.
    pub(crate) live_delta: Cell<i64>,
    /// Bytes that were put into quarantine and not added up yet. A signal handler's may be lost.
    pub(crate) retained_bytes: Cell<usize>,
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
    /// Whether it is in the list of orphans. Under the central lock.
    pub(crate) is_listed: AtomicBool,
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
        let mut bins = [const { Bin::unused() }; CLASS_COUNT];
        let mut cursors = [const { Cursor::unused() }; CLASS_COUNT];
        let mut class = 0;
        while class < CLASS_COUNT && !busy {
            bins[class] = Bin::new(class);
            cursors[class] = Cursor::new(class);
            class += 1;
        }
        ThreadHeap {
            map: Map { base: Cell::new(0), limit: Cell::new(0), headers: Cell::new(null()) },
            small_end: Cell::new(if busy { SMALL_END_BUSY } else { SMALL_END }),
            places: PLACES,
            bins,
            cursors,
            queues: [const { Queue { first: Cell::new(0), last: Cell::new(0) } }; CLASS_COUNT],
            index: Cell::new(index),
            pace: Pace::new(),
            sampler: Sampler::new(),
            span_count: Cell::new(0),
            idle_look: IdleLook::new(),
            live_delta: Cell::new(0),
            retained_bytes: Cell::new(0),
            transit: AtomicPtr::new(null_mut()),
            shared: Shared {
                mailbox: Mailbox::unused(),
                next_orphan: AtomicU32::new(0),
                is_listed: AtomicBool::new(false),
            },
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

    /// malloc's fast path.
    #[inline(always)]
    pub(crate) fn take_small(&self, bytes: usize) -> FastAllocate {
        if bytes >= self.small_end.get() {
            return FastAllocate::Slow;
        }
        // Shifts: a sum that cannot overflow here, which `div_ceil` would provide for.
        let units = (bytes + UNIT_BYTES - 1) >> UNIT_BYTES.trailing_zeros();
        debug_assert!(units < PLACE_COUNT);
        // SAFETY: `bytes` is below `small_end`, which is never more than what the table is for.
        let place = usize::from(unsafe { *self.places.get_unchecked(units) });
        // SAFETY: the table has places of bins.
        let bin = unsafe { self.bins.as_ptr().byte_add(place) };
        // SAFETY: as above.
        let bin = unsafe { &*bin };
        self.set_busy(true);
        let Some(block) = bin.take() else {
            return FastAllocate::Refill(place / size_of::<Bin>());
        };
        self.set_busy(false);
        FastAllocate::Block(block)
    }

    /// malloc, when the bin's word is used up and the next one is exposed already. None otherwise; call
    /// [`crate::Heap::allocate_refilled`]. The heap is busy, and remains so if it is None.
    #[inline(always)]
    pub(crate) fn take_next(&self, class: usize) -> Option<*mut u8> {
        debug_assert!(self.is_busy() && !self.is_sentinel());
        let (bin, cursor) = (&self.bins[class], &self.cursors[class]);
        if !self.pace.passes() || cursor.stays(bin) || !cursor.step(bin) {
            return None;
        }
        let block = bin.take()?;
        self.set_busy(false);
        Some(block)
    }

    /// Whether malloc or a slow path of this heap is under way: then a signal handler has interrupted it, and has to
    /// allocate from another heap.
    pub fn is_busy(&self) -> bool {
        self.small_end.get() == SMALL_END_BUSY
    }

    /// Marks the begin and end of malloc and of slow paths.
    #[inline(always)]
    pub(crate) fn set_busy(&self, busy: bool) {
        compiler_fence(Ordering::SeqCst);
        self.small_end.set(if busy { SMALL_END_BUSY } else { SMALL_END });
        compiler_fence(Ordering::SeqCst);
    }

    /// Whether it fills its spans: it has as many as there are classes, of which programs use a part, and of each class at most one has
    /// pages that it never touched.
    pub(crate) fn fills_spans(&self) -> bool {
        self.span_count.get() as usize >= CLASS_COUNT
    }

    /// Number of the heap.
    pub fn index(&self) -> HeapIndex {
        self.index.get()
    }

    pub(crate) fn set_transit(&self, word: *mut Word) {
        self.transit.store(word, Ordering::Relaxed);
    }
}
