//! Quarantine: a freed block is handed out again only when a sweep has found no pointer to it, so that to use or free it once more harms nobody
//! (MarkUs, Ainsworth and Jones, IEEE S&P 2020; MineSweeper, Erdős and others, ASPLOS 2022).
//!
//! free sets the block's bit in *quarantine*, by whatever thread, and that bit's old value tells a second free. A sweep notes the blocks that
//! are there ([`Heap::note_retained`]), looks for pointers to them, and releases those that it met none to ([`Heap::release_retained`]): to the
//! owner of a span that is as if another thread had freed them just then.
//!
//! Whoever frees holds the block's address in a register, or on its stack, until the free is done. A sweep that stops the thread in between
//! meets it there, and does not release the block: so nobody has it when it is zeroed, or when the bit of a second free is taken back.

use crate::heap::{Heap, Reuse};
use crate::release::BlockRef;
use crate::size_class::{SLICE_BYTES, SLICE_SHIFT, block_index};
use crate::span::{FLAG_QUARANTINE, FLAGS_MASK, SliceState, SpanHeader, SpanShape};
use crate::thread_heap::ThreadHeap;
use crate::word::{BLOCKS_PER_WORD, Word};
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use hk_os::Os;

/// A thread adds its frees up when they come to this much.
const FLUSH_BYTES: usize = 64 << 10;
/// Larger blocks are not zeroed when they are freed: the program may have used a small part of them.
const ZERO_BYTES_MAX: usize = 1024;
/// Spans of blocks up to this size have one slice ([`crate::size_class`]).
const SHORT_BYTES_MAX: usize = 1024;
/// The memory of blocks as large as this goes back to the system at once.
const PURGE_BYTES_MIN: usize = 4 << 20;

/// What a free came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InQuarantine {
    /// The block is retained.
    Done,
    /// The same, and it is time for a sweep.
    Full,
    /// Nothing was done; call [`Heap::free_slow`].
    Unusual,
}

/// Blocks in quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A piece of memory that a sweep looks at.
#[derive(Clone, Copy, Debug)]
pub struct SweptPiece {
    /// Its first byte.
    pub start: usize,
    /// Its size.
    pub bytes: usize,
    /// The size of the blocks in it.
    pub block_bytes: usize,
}

impl Retained {
    fn add(&mut self, blocks: u32, block_bytes: usize) {
        self.blocks += u64::from(blocks);
        self.bytes += u64::from(blocks) * block_bytes as u64;
    }
}

/// How much was freed. Part of a heap.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// Bytes that were freed since the last sweep began, as far as threads have added them up.
    freed_bytes: AtomicUsize,
    /// With so many it is time for the next.
    limit_bytes: AtomicUsize,
    /// Whether small blocks are zeroed.
    zeroes: AtomicBool,
    /// Whether releases are under way, for a fork child.
    is_releasing: AtomicBool,
}

impl Quarantine {
    pub(crate) const fn new() -> Self {
        Quarantine {
            freed_bytes: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(usize::MAX),
            zeroes: AtomicBool::new(true),
            is_releasing: AtomicBool::new(false),
        }
    }

    // Relaxed throughout: counts that order nothing.

    fn add(&self, bytes: usize) -> InQuarantine {
        self.freed_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.is_full() { InQuarantine::Full } else { InQuarantine::Done }
    }

    fn is_full(&self) -> bool {
        self.freed_bytes.load(Ordering::Relaxed) >= self.limit_bytes.load(Ordering::Relaxed)
    }
}

impl<O: Os> Heap<O> {
    /// free, in a heap whose blocks are reused when they were swept ([`crate::Reuse::Swept`]).
    #[inline]
    pub fn free_to_quarantine(&self, heap: &ThreadHeap, block: *mut u8) -> InQuarantine {
        let Some(LiveBlock { word, bit, bytes }) = live_block(heap, block.addr()) else {
            return InQuarantine::Unusual;
        };
        if !word.retain(bit) {
            return InQuarantine::Unusual;
        }
        self.after_retain(heap, block, bytes)
    }

    /// Bytes that a live block has room for, in such a heap. None if it may be anything else: see [`Heap::usable_bytes`].
    #[inline]
    pub fn live_bytes_in_quarantine(&self, heap: &ThreadHeap, block: *mut u8) -> Option<usize> {
        live_block(heap, block.addr()).map(|block| block.bytes)
    }

    #[inline]
    fn after_retain(&self, heap: &ThreadHeap, block: *mut u8, bytes: usize) -> InQuarantine {
        if bytes <= ZERO_BYTES_MAX && self.quarantine.zeroes.load(Ordering::Relaxed) {
            // SAFETY: a block of the heap that the program gave up, and that nobody is given while its address is held here.
            unsafe { zero(block, bytes) };
        }
        // See the module head.
        black_box(block);
        let freed = heap.retained_bytes.get() + bytes;
        if freed < FLUSH_BYTES {
            heap.retained_bytes.set(freed);
            return InQuarantine::Done;
        }
        heap.retained_bytes.set(0);
        self.quarantine.add(freed)
    }

    /// The same for a block that is known to be one. False if it was not live.
    pub(crate) fn retain(&self, block: &BlockRef<'_>, start: *mut u8) -> bool {
        if !block.word.retain(block.bit) {
            black_box(start);
            return false;
        }
        let bytes = block.shape.block_bytes;
        if self.reuse() == Reuse::Swept {
            if bytes >= PURGE_BYTES_MIN && block.shape.state == SliceState::Large {
                self.purge_retained(start, bytes);
            }
            self.quarantine.add(bytes);
        }
        black_box(start);
        true
    }

    #[cold]
    fn purge_retained(&self, start: *mut u8, bytes: usize) {
        if let Some(start) = core::ptr::NonNull::new(start) {
            // SAFETY: a large block's pages, committed, which the program gave up, and which nobody is given while the address is held here.
            let _ = unsafe { self.os.purge(start, bytes) };
        }
    }

    /// Whether it is time for a sweep.
    pub fn is_quarantine_full(&self) -> bool {
        self.quarantine.is_full()
    }

    /// Bytes that were freed since the last sweep began. Up to 64 KiB for each thread are missing.
    pub fn retained_since_sweep(&self) -> usize {
        self.quarantine.freed_bytes.load(Ordering::Relaxed)
    }

    /// Says with how many bytes it is time for a sweep.
    pub fn set_quarantine_limit(&self, bytes: usize) {
        self.quarantine.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says whether small blocks are zeroed when they are freed.
    pub fn set_quarantine_zeroes(&self, zeroes: bool) {
        self.quarantine.zeroes.store(zeroes, Ordering::Relaxed);
    }

    /// Begins a sweep: removes each block that is retained now from `others`, a set of all numbers, a bit each. From here on what is freed counts
    /// for the next sweep.
    pub fn note_retained(&self, others: &[AtomicU64]) -> Retained {
        self.quarantine.freed_bytes.store(0, Ordering::Relaxed);
        let mut retained = Retained::default();
        self.for_each_word(|shape, _, _, number, word| {
            let bits = word.retained();
            if let Some(set) = others.get(number).filter(|_| bits != 0) {
                // Relaxed: the sweep's own.
                set.store(!bits, Ordering::Relaxed);
                retained.add(bits.count_ones(), shape.block_bytes);
            }
        });
        retained
    }

    /// Ends a sweep: what is not in `others` is free.
    pub fn release_retained(&self, others: &[AtomicU64]) -> Retained {
        let mut released = Retained::default();
        self.quarantine.is_releasing.store(true, Ordering::Relaxed);
        self.for_each_word(|shape, span, nth, number, word| {
            // Once released, the span may be given up, and another one behind it get its words: nothing of that one is to be released.
            let bits = others.get(number).map_or(0, |set| !set.swap(!0, Ordering::Relaxed));
            if bits == 0 {
                return;
            }
            released.add(bits.count_ones(), shape.block_bytes);
            if shape.state == SliceState::Large {
                self.release_large(span);
            } else {
                word.release(bits);
                self.announce_free(span, nth * BLOCKS_PER_WORD);
            }
        });
        self.quarantine.is_releasing.store(false, Ordering::Relaxed);
        released
    }

    /// In a fork child, which does not go on with a sweep that was under way.
    pub(crate) fn end_releases(&self) {
        if self.quarantine.is_releasing.swap(false, Ordering::Relaxed) {
            self.for_each_word(|_, _, _, _, word| word.end_release());
        }
    }

    /// Calls `found` for each piece of memory in which a sweep looks for pointers, between two addresses: live blocks, and blocks that were retained
    /// since it began. Not what is free, nor what is not in `others`. Blocks that adjoin are one piece.
    pub fn for_each_swept(
        &self,
        others: &[AtomicU64],
        start: usize,
        end: usize,
        mut found: impl FnMut(SweptPiece),
    ) {
        let zeroes = self.quarantine.zeroes.load(Ordering::Relaxed);
        self.for_each_word_between(start, end, |shape, _, nth, number, word| {
            let mut bits = !word.free() & others.get(number).map_or(!0, |set| set.load(Ordering::Relaxed));
            let base = shape.block_start(nth * BLOCKS_PER_WORD);
            if zeroes && shape.block_bytes <= ZERO_BYTES_MAX {
                // What lies between is zero, and faster read than left out.
                bits = with_gaps(bits);
            }
            while bits != 0 {
                let first = bits.trailing_zeros();
                let count = (bits >> first).trailing_ones();
                let from = (base + first as usize * shape.block_bytes).max(start);
                let to = (base + (first + count) as usize * shape.block_bytes).min(end);
                if from < to {
                    found(SweptPiece { start: from, bytes: to - from, block_bytes: shape.block_bytes });
                }
                bits &= u64::MAX.checked_shl(first + count).unwrap_or(0);
            }
        });
    }

    /// Calls `found` with each word of spans in use: the span's shape and number, the word's number in it and among all.
    fn for_each_word(&self, found: impl FnMut(&SpanShape, usize, usize, usize, &Word)) {
        let (start, bytes) = self.block_range();
        self.for_each_word_between(start, start + bytes, found);
    }

    /// The same with words that have blocks between two addresses.
    fn for_each_word_between(
        &self,
        start: usize,
        end: usize,
        mut found: impl FnMut(&SpanShape, usize, usize, usize, &Word),
    ) {
        let (first, bytes) = self.block_range();
        let end = end.min(first + bytes);
        if start >= end {
            return;
        }
        let tables = self.tables();
        let mut slice = (start - first) / SLICE_BYTES;
        let header = tables.header(slice);
        if header.state() == SliceState::Interior {
            slice = slice.saturating_sub(header.slices.load(Ordering::Relaxed) as usize);
        }
        while slice < (end - first).div_ceil(SLICE_BYTES) {
            // None while somebody changes it: no block of it is anybody's then.
            let shape = tables.header(slice).shape();
            let is_span = |shape: &SpanShape| matches!(shape.state, SliceState::Small | SliceState::Large);
            let Some(shape) = shape.filter(is_span) else {
                slice += 1;
                continue;
            };
            let word_bytes = shape.block_bytes * BLOCKS_PER_WORD;
            let words = shape.block_count.div_ceil(BLOCKS_PER_WORD);
            let from = start.saturating_sub(shape.start) / word_bytes;
            let to = end.saturating_sub(shape.start).div_ceil(word_bytes).min(words);
            for nth in from..to {
                // SAFETY: below the block count of the shape, whose state is one that has words.
                let word = unsafe { shape.word_of(nth * BLOCKS_PER_WORD) };
                found(&shape, slice, nth, self.word_number(word), word);
            }
            slice += (shape.slices as usize).max(1);
        }
    }

    /// Which of all words one is.
    pub(crate) fn word_number(&self, word: *const Word) -> usize {
        word.addr().wrapping_sub(self.tables().word_place(0).addr()) / size_of::<Word>()
    }

    /// Bytes that spans take at present.
    pub fn span_bytes(&self) -> usize {
        self.slices.used_count() * SLICE_BYTES
    }
}

struct LiveBlock<'a> {
    word: &'a Word,
    bit: u64,
    bytes: usize,
}

/// The live block of a small span that begins at an address. None if it may be anything else.
#[inline]
fn live_block(heap: &ThreadHeap, address: usize) -> Option<LiveBlock<'_>> {
    let offset = address.wrapping_sub(heap.map.base.get());
    if offset >= heap.map.limit.get() {
        return None;
    }
    let slice = offset >> SLICE_SHIFT;
    let mut header = header_of(heap, slice);
    if header.state() == SliceState::Interior {
        header = header_of(heap, slice.checked_sub(header.slices.load(Ordering::Relaxed) as usize)?);
    }
    let generation = header.generation();
    let owner = header.owner_and_flags.load(Ordering::Acquire);
    if owner & FLAGS_MASK != FLAG_QUARANTINE || !generation.is_multiple_of(2) {
        return None;
    }
    let bytes = header.block_bytes.load(Ordering::Relaxed);
    let index = if bytes <= SHORT_BYTES_MAX {
        block_index(address as u16, header.inverse.load(Ordering::Relaxed))?
    } else {
        let distance = address.wrapping_sub(header.start.load(Ordering::Relaxed));
        let index = distance / bytes;
        let count = header.block_count.load(Ordering::Relaxed) as usize;
        (index < count && index * bytes == distance).then_some(index)?
    };
    // SAFETY: below the block count, or the words are padded to what a distance in the slice can lead to.
    let word = unsafe { header.word_of(index) };
    let bit = 1 << (index % BLOCKS_PER_WORD);
    // A live block keeps its span as it is. A second free whose first one is done by now finds a bit.
    (header.is_generation(generation) && word.live() & bit != 0).then_some(LiveBlock { word, bit, bytes })
}

/// The header of a slice below a thread heap's limit.
#[inline]
fn header_of(heap: &ThreadHeap, slice: usize) -> &SpanHeader {
    // SAFETY: below the limit headers are accessible.
    let header = unsafe { heap.map.headers.get().add(slice) };
    // SAFETY: as above; headers are accessed as atomics only.
    unsafe { &*header }
}

/// All bits from the first to the last one, if most of them are set.
#[inline]
fn with_gaps(bits: u64) -> u64 {
    if bits == 0 {
        return 0;
    }
    let all = u64::MAX >> bits.leading_zeros() & u64::MAX << bits.trailing_zeros();
    if bits.count_ones() * 3 >= all.count_ones() { all } else { bits }
}

/// # Safety
/// The block has so many bytes, a multiple of 16, and nobody else uses it but by mistake.
#[inline]
unsafe fn zero(block: *mut u8, bytes: usize) {
    // SAFETY: the caller's word.
    unsafe { block.write_bytes(0, bytes) };
}
