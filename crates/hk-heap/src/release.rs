//! free's slow path, and what else takes a pointer: every check that the fast path failed on, one by one.

use crate::fast::fits_in_place;
use crate::heap::{Heap, Reuse};
use crate::mailbox::{HeapState, announce};
use crate::misuse::{At, Misuse};
use crate::size_class::{CLASS_BYTES_MAX, SLICE_BYTES, SLICE_SHIFT, block_index};
use crate::span::{FLAGS_MASK, InSpan, SliceState, SpanHeader, SpanShape};
use crate::thread_heap::{FastAllocate, ThreadHeap};
use crate::word::{BLOCKS_PER_WORD, Word};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_os::Os;

/// The start of a block that exists; whether it is live is another question.
pub(crate) struct BlockRef<'a> {
    pub(crate) span: usize,
    pub(crate) header: &'a SpanHeader,
    pub(crate) shape: SpanShape,
    index: usize,
    pub(crate) word: &'a Word,
    pub(crate) bit: u64,
}

impl BlockRef<'_> {
    fn misuse(&self, at: At) -> Misuse {
        let block_start = self.shape.block_start(self.index);
        Misuse { at, block_start, block_bytes: self.shape.block_bytes }
    }
}

impl<O: Os> Heap<O> {
    /// Frees a block that [`Heap::free_fast`] would not: another thread's, a large one, one of a span with
    /// flags, or a bad one.
    ///
    /// # Errors
    /// If `block` is not the start of a live block of this heap; nothing has changed then.
    #[inline(never)]
    pub fn free_slow(&self, heap: &ThreadHeap, block: *mut u8) -> Result<(), Misuse> {
        let offset = block.addr().wrapping_sub(heap.map.base.get());
        if offset >= heap.map.limit.get() && self.update_map(heap) {
            return self.free(heap, block);
        }
        self.free_others(heap, block).unwrap_or_else(|| self.free_checked(heap, block))
    }

    /// The usual case: a block of another thread's span. None, with nothing done, if it is anything else.
    #[inline]
    fn free_others(&self, heap: &ThreadHeap, block: *mut u8) -> Option<Result<(), Misuse>> {
        let offset = self.offset_of(block.addr())?;
        let slice = offset >> SLICE_SHIFT;
        let header = self.tables().header(slice);
        let generation = header.generation();
        let owner = header.owner_and_flags.load(Ordering::Acquire);
        let plain = owner != 0 && owner & FLAGS_MASK == 0 && owner != heap.owner_word();
        if !plain || !generation.is_multiple_of(2) {
            return None;
        }
        let index = block_index(block.addr() as u16, header.inverse.load(Ordering::Relaxed))?;
        let block_bytes = header.block_bytes.load(Ordering::Relaxed);
        // SAFETY: the words are padded to what a distance in the slice can lead to.
        let word = unsafe { header.word_of(index) };
        word.prefetch_for_remote();
        let bit = 1 << (index % BLOCKS_PER_WORD);
        if !header.is_generation(generation) || word.live() & bit == 0 {
            return None;
        }
        let is_current = || header.is_generation(generation);
        let freed = word.free_remote(bit, &header.claims, is_current);
        if freed.announce {
            self.announce_free(slice, index);
        }
        // Nothing is said by a span that is not current any more: its owner may have claimed the bit, and retired it.
        let refused = Misuse { at: At::FreeBlock, block_start: block.addr(), block_bytes };
        Some(if freed.double { Err(refused) } else { Ok(()) })
    }

    #[cold]
    #[inline(never)]
    fn free_checked(&self, heap: &ThreadHeap, block: *mut u8) -> Result<(), Misuse> {
        let found = self.resolve(block.addr())?;
        if found.word.live() & found.bit == 0 {
            // Here, not only by the bit's arbiter below: the owner may hand the block out again meanwhile, and this free would be that one's.
            return Err(found.misuse(At::FreeBlock));
        }
        if found.header.retains() || self.reuse() != Reuse::Freed {
            return if self.retain(&found, block) { Ok(()) } else { Err(found.misuse(At::FreeBlock)) };
        }
        if found.header.is_owned_by(heap) {
            return self.free_own(heap, &found);
        }
        let is_current = || found.header.is_generation(found.shape.generation);
        let freed = found.word.free_remote(found.bit, &found.header.claims, is_current);
        let mut double = freed.double;
        if found.shape.state == SliceState::Large {
            // Only the winner of the bit retires a large span: if it is another one now, this free is a second one.
            if !is_current() {
                found.word.withdraw(found.bit);
                double = true;
            }
            if !double {
                self.retire_large(heap, found.span);
            }
        } else if freed.announce {
            self.announce_free(found.span, found.index);
        }
        if double { Err(found.misuse(At::FreeBlock)) } else { Ok(()) }
    }

    fn free_own(&self, heap: &ThreadHeap, block: &BlockRef<'_>) -> Result<(), Misuse> {
        if !block.word.free_local(block.index) {
            return Err(block.misuse(At::FreeBlock));
        }
        if block.header.note_free() {
            self.free_edge(heap, self.block_place(block.shape.block_start(block.index)));
        }
        Ok(())
    }

    pub(crate) fn announce_free(&self, span: usize, index: usize) {
        if let Some(owner) = announce(self, span as u32, (index / BLOCKS_PER_WORD) as u32) {
            // The owner has no call to come in which it could look.
            if self.drain_if_ownerless(owner) {
                self.look_after_retire();
            }
        }
    }

    /// Acts for a heap that nobody runs, so that memory freed from outside is not lost until it is adopted. True if spans were given
    /// up.
    pub(crate) fn drain_if_ownerless(&self, owner: u32) -> bool {
        let heap = self.tables().heap(owner as usize);
        let mailbox = &heap.shared.mailbox;
        // In a signal handler that interrupted the lock's holder the mail has to wait for the next who looks.
        if self.is_reentered() {
            return false;
        }
        let mut retired = false;
        // Whoever sets Orphan looks at the mailbox again afterwards, so nothing is left behind.
        while mailbox.has_mail() && mailbox.transfer(HeapState::Orphan, HeapState::Busy, self.generation()) {
            // What changed hands is not looked after further: that could go on from orphan to orphan. Its next freer, or adopter, will.
            let spans = heap.span_count.get();
            self.drain_mail_and(heap, |_| ());
            retired |= heap.span_count.get() < spans;
            let done = mailbox.transfer(HeapState::Busy, HeapState::Orphan, self.generation());
            debug_assert!(done, "a busy heap changed hands");
        }
        retired
    }

    /// The block that begins at `address`.
    fn resolve(&self, address: usize) -> Result<BlockRef<'_>, Misuse> {
        let found = self.resolve_once(address);
        if found.is_err() && self.lock.is_after_fork() {
            // Another thread may have been changing the block's size when the process was forked.
            self.notice_fork();
            return self.resolve_once(address);
        }
        found
    }

    fn resolve_once(&self, address: usize) -> Result<BlockRef<'_>, Misuse> {
        let (span, header, shape) = self.span_at(address)?;
        let retired = shape.state == SliceState::Retired;
        match shape.locate(address) {
            InSpan::Outside => Err(Misuse::without_block(At::NoBlock)),
            InSpan::Inside(index) => Err(inside(&shape, index, retired)),
            InSpan::Start(index) if retired => Err(Misuse {
                at: At::RetiredBlock,
                block_start: shape.block_start(index),
                block_bytes: shape.block_bytes,
            }),
            InSpan::Start(index) => {
                // SAFETY: `locate` gives indices below the block count, and `span_at` states with words.
                let word = unsafe { shape.word_of(index) };
                Ok(BlockRef { span, header, shape, index, word, bit: 1 << (index % BLOCKS_PER_WORD) })
            }
        }
    }

    /// The span at an address: in use, or the last one that was.
    fn span_at(&self, address: usize) -> Result<(usize, &SpanHeader, SpanShape), Misuse> {
        let Some(offset) = self.offset_of(address) else {
            let table = self.is_own_table(address);
            let slices = !table && self.owns(address);
            let at = if table {
                At::OwnTables
            } else if slices {
                At::NoBlock
            } else {
                At::Foreign
            };
            return Err(Misuse::without_block(at));
        };
        let nothing = Misuse::without_block(At::NoBlock);
        let tables = self.tables();
        let mut span = offset >> SLICE_SHIFT;
        let mut header = tables.header(span);
        let mut shape = header.shape().ok_or(nothing)?;
        if shape.state == SliceState::Interior {
            span = span.checked_sub(shape.slices as usize).ok_or(nothing)?;
            header = tables.header(span);
            shape = header.shape().ok_or(nothing)?;
        }
        let usable = matches!(shape.state, SliceState::Small | SliceState::Large | SliceState::Retired);
        if usable && !shape.words.is_null() { Ok((span, header, shape)) } else { Err(nothing) }
    }

    /// The start of a live block.
    fn live_block(&self, address: usize) -> Result<BlockRef<'_>, Misuse> {
        let block = self.resolve(address)?;
        if block.word.live() & block.bit == 0 { Err(block.misuse(At::FreeBlock)) } else { Ok(block) }
    }

    /// Bytes that the block at `block` has room for.
    ///
    /// # Errors
    /// If it is not the start of a live block of this heap.
    pub fn usable_bytes(&self, block: *const u8) -> Result<usize, Misuse> {
        self.live_block(block.addr()).map(|block| block.shape.block_bytes)
    }

    /// Makes the block at `block` hold `bytes`, moving it if need be. Ok(null) if there is no memory; the block
    /// is as it was then.
    ///
    /// # Errors
    /// If it is not the start of a live block of this heap; nothing has changed then.
    ///
    /// # Safety
    /// If `block` is a live block, the caller gives it up: the result stands for it.
    pub unsafe fn reallocate(
        &self,
        heap: &ThreadHeap,
        block: *mut u8,
        bytes: usize,
    ) -> Result<*mut u8, Misuse> {
        if let Some(present) = self.own_live_bytes(heap, block) {
            if fits_in_place(present, bytes) {
                return Ok(block);
            }
            // SAFETY: the caller's word.
            return unsafe { self.reallocate_by_copy(heap, block, present, bytes) };
        }
        let found = self.live_block(block.addr())?;
        let present = found.shape.block_bytes;
        if self.resize_in_place(&found, present, bytes) {
            return Ok(block);
        }
        // SAFETY: the caller's word.
        unsafe { self.reallocate_by_copy(heap, block, present, bytes) }
    }

    /// The same for a live block that has room for `present` bytes, and has to move.
    ///
    /// # Safety
    /// As for [`Heap::reallocate`].
    unsafe fn reallocate_by_copy(
        &self,
        heap: &ThreadHeap,
        block: *mut u8,
        present: usize,
        bytes: usize,
    ) -> Result<*mut u8, Misuse> {
        // A block that grows step by step is given room ahead, so that it is not copied at each step.
        let ahead = if bytes > present && bytes > CLASS_BYTES_MAX { bytes + bytes / 4 } else { bytes };
        let mut moved = match self.allocate_fast(heap, ahead) {
            FastAllocate::Block(moved) => moved,
            FastAllocate::Refill(class) => self.allocate_refilled(heap, class),
            FastAllocate::Slow => self.allocate(heap, ahead),
        };
        if moved.is_null() && ahead > bytes {
            moved = self.allocate(heap, bytes);
        }
        if moved.is_null() {
            return Ok(null_mut());
        }
        if bytes > CLASS_BYTES_MAX && self.opens_huge_pages() {
            self.fetch_ahead(heap, moved, present.min(bytes));
        }
        // SAFETY: both are blocks of at least that size, one live, one new, so they don't overlap.
        unsafe { core::ptr::copy_nonoverlapping(block, moved, present.min(bytes)) };
        // A racing free of the same block is a misuse by the program; it was or will be reported there.
        match self.free(heap, block) {
            Ok(()) => Ok(moved),
            Err(misuse) => {
                let freed = self.free(heap, moved);
                debug_assert!(freed.is_ok(), "a block that nobody knows of");
                Err(misuse)
            }
        }
    }

    fn resize_in_place(&self, found: &BlockRef<'_>, present: usize, bytes: usize) -> bool {
        if found.shape.state == SliceState::Large {
            // In place while it is as large, down to half: smaller ones move, so that slices come free.
            let shrinks_little = bytes <= present && (bytes > present / 2 || self.reuse() == Reuse::Never);
            return shrinks_little
                || (bytes > CLASS_BYTES_MAX
                    && bytes <= self.tables().limit()
                    && self.resize_large(found, bytes));
        }
        fits_in_place(present, bytes)
    }

    /// A block of at least `bytes`, all zero, or null.
    pub fn allocate_zeroed(&self, heap: &ThreadHeap, bytes: usize) -> *mut u8 {
        let (block, zero) = if bytes > CLASS_BYTES_MAX {
            self.allocate_large_zero(heap, bytes)
        } else {
            (self.allocate(heap, bytes), false)
        };
        if !block.is_null() && !zero {
            // SAFETY: a new block of at least `bytes`.
            unsafe { block.write_bytes(0, bytes) };
        }
        block
    }
}

fn inside(shape: &SpanShape, index: usize, retired: bool) -> Misuse {
    // SAFETY: `locate` gives indices below the block count, and `span_at` states with words.
    let live = !retired && unsafe { shape.word_of(index) }.live() >> (index % BLOCKS_PER_WORD) & 1 != 0;
    let at = if live { At::InsideLiveBlock } else { At::InsideFreeBlock };
    Misuse { at, block_start: shape.block_start(index), block_bytes: shape.block_bytes }
}

const _: () = assert!(CLASS_BYTES_MAX <= SLICE_BYTES);
