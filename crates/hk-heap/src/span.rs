//! Spans and their headers.
//!
//! A span is 1..n slices that hold blocks of one size. Each slice has a header in a table far away from the
//! program's data; a span's header is that of its first slice, the others hold the distance back. Headers are
//! never unmapped and never change type, and all fields are atomics, because a wild pointer makes any
//! thread read any header at any time.
//!
//! The first cache line is read by every free and changes only when the span is made, retired or handed
//! over. The second is the owner's, written by each of its frees ([`Tally`]); the third is written by remote freers.

use crate::idle::Idle;
use crate::mailbox::Pending;
use crate::signal_safe;
use crate::size_class::Geometry;
use crate::tally::Tally;
use crate::thread_heap::ThreadHeap;
use crate::word::{BLOCKS_PER_WORD, Word};
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The flag in `owner_and_flags` that sends every free of the span to the slow path: its blocks are never reused.
pub const FLAG_KEEP: u64 = 1;
/// The same: its blocks are reused once no pointer to them is left. See [`crate::quarantine`].
pub const FLAG_QUARANTINE: u64 = 2;
/// All flags: what the alignment of thread heaps leaves free.
pub const FLAGS_MASK: u64 = align_of::<ThreadHeap>() as u64 - 1;

/// What a slice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SliceState {
    /// Never used.
    Fresh = 0,
    /// First of a span of a size class.
    Small = 1,
    /// First of a span that is one large block.
    Large = 2,
    /// Belongs to a span that begins `back` slices before.
    Interior = 3,
    /// Free; the header still tells what the last span here looked like.
    Retired = 4,
}

/// Where a small span is listed by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Listing {
    /// Nowhere: all its blocks are taken.
    Full = 0,
    /// In its bin's queue.
    Queued = 1,
    /// In its bin.
    Current = 2,
}

/// A slice's header.
#[repr(C, align(256))]
#[derive(Debug)]
pub struct SpanHeader {
    /// Address of the owner, and flags; zero if no heap owns the span (free, interior, large).
    pub(crate) owner_and_flags: AtomicU64,
    /// The span's words.
    pub(crate) words: AtomicPtr<Word>,
    /// ceil(2^32 / block size); of no meaning in a large span.
    pub(crate) inverse: AtomicU64,
    /// Address of block 0.
    pub(crate) start: AtomicUsize,
    /// Size of a block in bytes.
    pub(crate) block_bytes: AtomicUsize,
    /// Bits of the last word whose block does not exist.
    pub(crate) absent: AtomicU64,
    /// Number of blocks.
    pub(crate) block_count: AtomicU32,
    /// A [`SliceState`].
    state: AtomicU32,
    /// Slices of the span; for an interior slice the distance back to the first.
    pub(crate) slices: AtomicU32,
    /// Odd while the fields above change.
    generation: AtomicU32,

    pub(crate) tally: Tally,
    /// Neighbours in the bin's queue, slice number + 1. Owner only.
    pub(crate) next: AtomicU32,
    pub(crate) previous: AtomicU32,
    /// Owner only.
    pub(crate) idle: Idle,
    /// Claims of remote frees so far; never reset. Written by the owner only.
    pub(crate) claims: AtomicU32,
    /// A [`Listing`]. Owner only.
    listing: AtomicU8,
    /// Size class. Set when the span is made.
    pub(crate) class: AtomicU8,
    /// log2 of the words that `words` has room for, + 1; 0 if there are none yet. Under the central lock.
    pub(crate) word_capacity: AtomicU8,

    /// What remote freers left; on a line of its own, as they write it.
    pub(crate) pending: PendingLine,
}

/// See [`SpanHeader::pending`].
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct PendingLine(pub(crate) Pending);

/// The part of a header that tells where blocks are, read consistently.
#[derive(Clone, Copy, Debug)]
pub struct SpanShape {
    /// Generation at which it was read; even.
    pub generation: u32,
    /// What the slice is.
    pub state: SliceState,
    /// Address of block 0.
    pub start: usize,
    /// Size of a block.
    pub block_bytes: usize,
    /// Number of blocks.
    pub block_count: usize,
    /// Slices, or distance back.
    pub slices: u32,
    /// The words.
    pub words: *const Word,
}

/// Where an address lies in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InSpan {
    /// The start of block n.
    Start(usize),
    /// Inside block n.
    Inside(usize),
    /// In no block.
    Outside,
}

impl SpanShape {
    /// Where `address` lies.
    pub fn locate(&self, address: usize) -> InSpan {
        let distance = address.wrapping_sub(self.start);
        if distance >= self.block_bytes.saturating_mul(self.block_count) {
            return InSpan::Outside;
        }
        let index = distance / self.block_bytes;
        if distance.is_multiple_of(self.block_bytes) { InSpan::Start(index) } else { InSpan::Inside(index) }
    }

    /// The word of block `index`, as the span was cut when the shape was read.
    ///
    /// # Safety
    /// `index` is below the block count, and the state is one that has words.
    pub(crate) unsafe fn word_of<'a>(&self, index: usize) -> &'a Word {
        // SAFETY: the array has a word for each 64 blocks, and words are never unmapped, whoever has them now.
        let word = unsafe { self.words.add(index / BLOCKS_PER_WORD) };
        // SAFETY: as above; words are only accessed as atomics.
        unsafe { &*word }
    }

    /// Address of block `index`.
    pub fn block_start(&self, index: usize) -> usize {
        self.start + index * self.block_bytes
    }
}

impl SpanHeader {
    /// What the slice is.
    pub fn state(&self) -> SliceState {
        // Acquire: a state other than fresh publishes the fields that go with it.
        match self.state.load(Ordering::Acquire) {
            0 => SliceState::Fresh,
            1 => SliceState::Small,
            2 => SliceState::Large,
            3 => SliceState::Interior,
            4 => SliceState::Retired,
            other => unreachable!("slice state {other}"),
        }
    }

    /// Address of the heap that owns the span.
    pub fn owner(&self) -> Option<NonZeroUsize> {
        // Acquire: see `publish`.
        NonZeroUsize::new((self.owner_and_flags.load(Ordering::Acquire) & !FLAGS_MASK) as usize)
    }

    /// Whether `heap` owns the span.
    pub fn is_owned_by(&self, heap: &ThreadHeap) -> bool {
        self.owner().is_some_and(|owner| owner.get() as u64 == heap.owner_word())
    }

    /// Whether free does not make blocks of the span free.
    pub fn retains(&self) -> bool {
        self.owner_and_flags.load(Ordering::Relaxed) & FLAGS_MASK != 0
    }

    /// Reads the shape, or None if it changed meanwhile: then the slice is in nobody's use.
    pub fn shape(&self) -> Option<SpanShape> {
        // A seqlock's read side (Boehm, "Can seqlocks get along with programming language memory models?",
        // 2012): acquire load, relaxed reads of atomics, acquire fence, relaxed load.
        let generation = self.generation.load(Ordering::Acquire);
        if !generation.is_multiple_of(2) {
            return None;
        }
        let shape = SpanShape {
            generation,
            state: self.state(),
            start: self.start.load(Ordering::Relaxed),
            block_bytes: self.block_bytes.load(Ordering::Relaxed),
            block_count: self.block_count.load(Ordering::Relaxed) as usize,
            slices: self.slices.load(Ordering::Relaxed),
            words: self.words.load(Ordering::Relaxed),
        };
        self.is_generation(generation).then_some(shape)
    }

    /// The generation; odd while the shape changes.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether nothing changed since `generation` was read.
    #[inline]
    pub fn is_generation(&self, generation: u32) -> bool {
        core::sync::atomic::fence(Ordering::Acquire);
        self.generation.load(Ordering::Relaxed) == generation
    }

    /// Changes the shape. Only under the central lock.
    fn change(&self, write: impl FnOnce(&Self)) {
        let generation = self.generation.load(Ordering::Relaxed);
        assert!(generation.is_multiple_of(2), "span header changed by two at once");
        self.generation.store(generation.wrapping_add(1), Ordering::Relaxed);
        core::sync::atomic::fence(Ordering::Release);
        write(self);
        self.generation.store(generation.wrapping_add(2), Ordering::Release);
    }

    /// As a change whose maker a fork leaves behind.
    #[cfg(test)]
    pub(crate) fn begin_change_for_ever(&self) {
        self.generation.fetch_or(1, Ordering::Relaxed);
    }

    /// Ends a change that its maker will not end: in a fork child where it is not. The fields may be old or new.
    pub(crate) fn end_change(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // Only then: each page that is written to is one more that the child has for itself.
        if !generation.is_multiple_of(2) {
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
        }
    }

    /// Whether the slice belongs to the span that begins `back` slices before.
    pub(crate) fn is_interior(&self, back: u32) -> bool {
        self.state() == SliceState::Interior && self.slices.load(Ordering::Relaxed) == back
    }

    fn set_state(&self, state: SliceState) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Makes this the header of a span of size class `class`, without owner yet. Its words are reset.
    pub(crate) fn make_small(&self, start: usize, class: usize, geometry: &Geometry, words: *mut Word) {
        self.change(|h| {
            h.set_state(SliceState::Small);
            h.start.store(start, Ordering::Relaxed);
            h.inverse.store(geometry.inverse, Ordering::Relaxed);
            h.block_bytes.store(geometry.block_bytes as usize, Ordering::Relaxed);
            h.block_count.store(geometry.block_count, Ordering::Relaxed);
            h.absent.store(geometry.absent, Ordering::Relaxed);
            h.slices.store(geometry.slices, Ordering::Relaxed);
            h.words.store(words, Ordering::Relaxed);
        });
        self.class.store(class as u8, Ordering::Relaxed);
        self.tally.reset();
        self.set_listing(Listing::Full);
    }

    /// Makes this the header of a span that is one block of `block_bytes`, live from the start.
    pub(crate) fn make_large(&self, start: usize, slices: u32, block_bytes: usize, words: *mut Word) {
        self.change(|h| {
            h.set_state(SliceState::Large);
            h.start.store(start, Ordering::Relaxed);
            h.block_bytes.store(block_bytes, Ordering::Relaxed);
            h.block_count.store(1, Ordering::Relaxed);
            h.absent.store(!1, Ordering::Relaxed);
            h.slices.store(slices, Ordering::Relaxed);
            h.words.store(words, Ordering::Relaxed);
        });
    }

    /// Changes the size of a large span in place.
    pub(crate) fn resize_large(&self, slices: u32, block_bytes: usize) {
        self.change(|h| {
            h.block_bytes.store(block_bytes, Ordering::Relaxed);
            h.slices.store(slices, Ordering::Relaxed);
        });
    }

    /// Makes this the header of a slice `back` slices behind its span's first.
    pub(crate) fn make_interior(&self, back: u32) {
        self.change(|h| {
            h.set_state(SliceState::Interior);
            h.slices.store(back, Ordering::Relaxed);
        });
    }

    /// Gives the span to a heap. Release: its fields and words are published with it.
    pub(crate) fn publish(&self, owner: u64) {
        self.owner_and_flags.store(owner, Ordering::Release);
    }

    /// Takes the span out of use; what it looked like stays readable until the next one is made here.
    pub(crate) fn retire(&self) {
        self.owner_and_flags.store(0, Ordering::Release);
        self.change(|h| h.set_state(SliceState::Retired));
    }

    /// The word of block `index`. The caller knows that the span has that block.
    ///
    /// # Safety
    /// `index` is below the block count that goes with the present words.
    #[inline(always)]
    pub(crate) unsafe fn word_of(&self, index: usize) -> &Word {
        let words = self.words.load(Ordering::Relaxed);
        // SAFETY: words has ceil(block_count / 64) entries, and is never unmapped.
        let word = unsafe { words.add(index / BLOCKS_PER_WORD) };
        // SAFETY: as above; words are only accessed as atomics.
        unsafe { &*word }
    }

    /// Whether the span is that of the heap with this [`ThreadHeap::owner_word`], and has no flags.
    #[inline(always)]
    pub(crate) fn is_plainly_owned_by(&self, owner_word: u64) -> bool {
        const OWNER: usize = core::mem::offset_of!(SpanHeader, owner_and_flags);
        // SAFETY: a field of the header.
        !unsafe { signal_safe::field_differs::<OWNER>(core::ptr::from_ref(self).cast(), owner_word) }
    }

    /// The owner freed a block. True if it wants to be told.
    #[inline(always)]
    pub(crate) fn note_free(&self) -> bool {
        const COUNTDOWN: usize = core::mem::offset_of!(SpanHeader, tally);
        let header = core::ptr::from_ref(self).cast();
        // SAFETY: the tally begins with its countdown, which is written so only.
        unsafe { signal_safe::decrement_field::<COUNTDOWN>(header) }
    }

    pub(crate) fn listing(&self) -> Listing {
        match self.listing.load(Ordering::Relaxed) {
            0 => Listing::Full,
            1 => Listing::Queued,
            _ => Listing::Current,
        }
    }

    pub(crate) fn set_listing(&self, listing: Listing) {
        self.listing.store(listing as u8, Ordering::Relaxed);
    }

    /// Number of words in use.
    pub(crate) fn word_count(&self) -> u32 {
        self.block_count.load(Ordering::Relaxed).div_ceil(BLOCKS_PER_WORD as u32)
    }
}

const _: () = assert!(size_of::<SpanHeader>() == 256);
const _: () = assert!(core::mem::offset_of!(SpanHeader, tally) == 64);
