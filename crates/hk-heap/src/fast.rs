//! What most calls of malloc, free and realloc come to: straight lines that touch nothing but the thread's heap, the span's header
//! and the block's word. Whatever is not the usual case is somebody else's: [`crate::refill`], [`crate::release`].

use crate::heap::Heap;
use crate::size_class::{SLICE_SHIFT, UNIT_BYTES, block_index};
use crate::span::SpanHeader;
use crate::thread_heap::{FastAllocate, ThreadHeap};
use crate::word::{BLOCKS_PER_WORD, Word};
use core::sync::atomic::Ordering;
use hk_os::Os;

/// What the fast path of free came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastFree {
    /// The block is free.
    Done,
    /// The block is free; call [`Heap::free_edge`] with it.
    Edge,
    /// Nothing was done; call [`Heap::free_slow`].
    Slow,
}

/// The start of a block in a span of the thread's own; whether it is live is another question.
struct OwnBlock<'a> {
    header: &'a SpanHeader,
    word: &'a Word,
    index: usize,
}

impl<O: Os> Heap<O> {
    /// A block of at least `bytes`, if `bytes` is small and a block is at hand; otherwise what to call instead.
    #[inline(always)]
    pub fn allocate_fast(&self, heap: &ThreadHeap, bytes: usize) -> FastAllocate {
        heap.take_small(bytes)
    }

    /// The same for a block of `class` after [`FastAllocate::Refill`], if the bin's span has another word at hand; else call
    /// [`Heap::allocate_refilled`].
    #[inline(always)]
    pub fn allocate_next(&self, heap: &ThreadHeap, class: usize) -> Option<*mut u8> {
        heap.take_next(class)
    }

    /// Frees a block of `heap`'s own; otherwise says what to call instead. Those calls find everything out again: the fewer
    /// values live here, the fewer registers are saved.
    #[inline(always)]
    pub fn free_fast(&self, heap: &ThreadHeap, block: *mut u8) -> FastFree {
        let Some(OwnBlock { header, word, index }) = self.own_block(heap, block) else {
            return FastFree::Slow;
        };
        if !word.free_local(index) {
            return FastFree::Slow;
        }
        if header.note_free() { FastFree::Edge } else { FastFree::Done }
    }

    /// Bytes that a live block of `heap`'s own has room for. None for any other: see [`Heap::usable_bytes`].
    #[inline(always)]
    pub fn own_live_bytes(&self, heap: &ThreadHeap, block: *mut u8) -> Option<usize> {
        let OwnBlock { header, word, index } = self.own_block(heap, block)?;
        word.is_live_locally(index).then(|| header.block_bytes.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn own_block(&self, heap: &ThreadHeap, block: *mut u8) -> Option<OwnBlock<'_>> {
        let offset = block.addr().wrapping_sub(heap.map.base.get());
        if offset >= heap.map.limit.get() {
            return None;
        }
        // SAFETY: below the limit headers are accessible.
        let header = unsafe { heap.map.headers.get().add(offset >> SLICE_SHIFT) };
        // SAFETY: as above; headers are accessed as atomics only.
        let header = unsafe { &*header };
        if !header.is_plainly_owned_by(heap.owner_word()) {
            return None;
        }
        // The span is this thread's own, so nobody changes its shape; and only first slices have an owner, where
        // a span's blocks start with the slice.
        let distance = block.addr() as u16;
        // SAFETY: written before the span became this thread's. Not as an atomic, so that it needs no instruction of its own.
        let inverse = unsafe { header.inverse.as_ptr().read() };
        let index = block_index(distance, inverse)?;
        // SAFETY: as above.
        let words = unsafe { header.words.as_ptr().read() };
        // No check against the block count: what does not exist is a freed bit, up to the end of the slice.
        // SAFETY: the words are padded to what a distance in the slice can lead to.
        let word = unsafe { words.add(index / BLOCKS_PER_WORD) };
        // SAFETY: as above; words are only accessed as atomics.
        let word = unsafe { &*word };
        Some(OwnBlock { header, word, index })
    }
}

/// Whether a block with room for `present` bytes is to be kept when it is to hold `bytes`, and is of a class: if that is enough, and not
/// twice as much as is needed. There is no smaller block than one of a unit.
#[inline(always)]
pub fn fits_in_place(present: usize, bytes: usize) -> bool {
    bytes <= present && (bytes > present / 2 || present == UNIT_BYTES)
}
