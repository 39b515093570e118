//! Blocks with a span of their own.
//!
//! They belong to no thread heap: whoever frees one gives the slices back at once. The block has the same bits
//! as any other (block 0 of its span), so the same `fetch_or` decides between two racing frees, and only the
//! winner touches the header.

use crate::heap::{Heap, REQUEST_BYTES_MAX};
use crate::release::BlockRef;
use crate::size_class::SLICE_BYTES;
use crate::slices::{Run, huge_page_of, populate_run};
use crate::thread_heap::ThreadHeap;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_os::Os;

impl<O: Os> Heap<O> {
    /// A span that is one block of at least `bytes`, at a multiple of `align`; null if there is no memory.
    pub(crate) fn allocate_large(&self, heap: &ThreadHeap, bytes: usize, align: usize) -> *mut u8 {
        if bytes > REQUEST_BYTES_MAX || bytes > self.tables().limit() || align > self.tables().limit() {
            return null_mut();
        }
        heap.set_busy(true);
        self.tick();
        let block = self.make_large(bytes, align);
        heap.set_busy(false);
        block.map_or(null_mut(), |(block, _)| block)
    }

    /// The same, and whether all of it reads as zero already.
    pub(crate) fn allocate_large_zero(&self, heap: &ThreadHeap, bytes: usize) -> (*mut u8, bool) {
        if bytes > REQUEST_BYTES_MAX || bytes > self.tables().limit() {
            return (null_mut(), false);
        }
        heap.set_busy(true);
        self.tick();
        let block = self.make_large(bytes, 1);
        heap.set_busy(false);
        block.unwrap_or((null_mut(), false))
    }

    fn make_large(&self, bytes: usize, align: usize) -> Option<(*mut u8, bool)> {
        let slices = bytes.div_ceil(SLICE_BYTES).max(1);
        let align_slices = align.div_ceil(SLICE_BYTES);
        let _guard = self.lock();
        let tables = self.tables();
        let base_slice = tables.base_slice();
        // Slices are numbered from the base, which is not aligned to more than a slice: search with slack.
        let slack = align_slices - 1;
        let run = self.slices.allocate(tables, &self.os, slices + slack, 1)?;
        self.publish_limit();
        let first = (base_slice + run.start).next_multiple_of(align_slices) - base_slice;
        if first > run.start {
            self.slices.put_back(tables, Run { count: first - run.start, ..run });
        }
        let behind = run.start + run.count - (first + slices);
        if behind > 0 {
            self.slices.put_back(tables, Run { start: first + slices, count: behind, ..run });
        }
        let header = tables.header(first);
        let Some(words) = self.words.provide(tables, &self.os, header, 1) else {
            self.slices.put_back(tables, Run { start: first, count: slices, ..run });
            return None;
        };
        let start = tables.slice_start(first).as_ptr();
        // Block 0 is live; the other 63 do not exist.
        // SAFETY: `provide` gave one word.
        let word = unsafe { &*words };
        word.make_single_live();
        header.make_large(start.addr(), slices as u32, slices * SLICE_BYTES, words);
        for back in 1..slices {
            tables.header(first + back).make_interior(back as u32);
        }
        self.note_spans();
        self.figures().add_live((slices * SLICE_BYTES) as i64);
        Some((start, run.zero))
    }

    /// Fetches memory in huge pages for the first `bytes` of a new block of more than a class, which are about to be written: where that is
    /// at least a third of what the block has of a huge page. Of a block otherwise nobody knows how much of it the program will touch.
    pub(crate) fn fetch_ahead(&self, heap: &ThreadHeap, block: *mut u8, bytes: usize) {
        let tables = self.tables();
        let Some(offset) = self.offset_of(block.addr()) else { return };
        heap.set_busy(true);
        let start = offset / SLICE_BYTES;
        let run =
            Run { start, count: tables.header(start).slices.load(Ordering::Relaxed) as usize, zero: false };
        let written_end = start + bytes.div_ceil(SLICE_BYTES);
        let mut slice = start;
        while slice < written_end {
            let end = huge_page_of(tables, slice).end.min(start + run.count);
            let opened = (written_end.min(end) - slice >= (end - slice).div_ceil(3)).then(|| {
                let _guard = self.lock();
                self.slices.open_huge_at(tables, &self.os, run, slice)
            });
            if let Some(huge) = opened.flatten() {
                populate_run(tables, &self.os, huge);
            }
            slice = end;
        }
        heap.set_busy(false);
    }

    /// Gives a large block's span back, or leaves that to a later call if this is a signal handler that interrupted the holder of the
    /// lock. Only for the winner of the block's bit.
    pub(crate) fn retire_large(&self, heap: &ThreadHeap, span: usize) {
        if self.is_reentered() {
            self.postpone(span);
        } else if heap.is_busy() {
            self.free_large_and_look(span);
        } else {
            heap.set_busy(true);
            self.free_large_and_look(span);
            heap.set_busy(false);
        }
    }

    fn postpone(&self, span: usize) {
        let next = &self.header(span).next;
        // Release: who takes the list sees the links.
        let push = |first| {
            next.store(first, Ordering::Relaxed);
            Some(span as u32 + 1)
        };
        let pushed = self.postponed.fetch_update(Ordering::Release, Ordering::Relaxed, push);
        debug_assert!(pushed.is_ok(), "push always gives a value");
    }

    /// Gives back what had to be left.
    pub(crate) fn free_postponed(&self) {
        if self.postponed.load(Ordering::Relaxed) == 0 || self.is_reentered() {
            return;
        }
        while let Some(span) = self.take_postponed() {
            self.free_large(span);
        }
    }

    /// One at a time, so that a fork child finds the others where they were. Under the lock nobody else takes one, so the first stays what
    /// it is until the exchange, or another one is pushed before it.
    fn take_postponed(&self) -> Option<usize> {
        let _guard = self.lock();
        let pop = |first: u32| {
            let span = first.checked_sub(1)?;
            Some(self.header(span as usize).next.load(Ordering::Relaxed))
        };
        // Acquire: see the links; Release: who pops next sees those that were pushed before.
        let popped = self.postponed.fetch_update(Ordering::AcqRel, Ordering::Acquire, pop);
        popped.ok().map(|first| first as usize - 1)
    }

    /// Gives a large block's span back that was retained, by a sweep.
    pub(crate) fn release_large(&self, span: usize) {
        self.free_large_and_look(span);
    }

    fn free_large_and_look(&self, span: usize) {
        self.free_large(span);
        self.look_after_retire();
    }

    fn free_large(&self, span: usize) {
        let header = self.tables().header(span);
        let bytes = header.block_bytes.load(Ordering::Relaxed);
        self.retire(span);
        self.figures().add_live(-(bytes as i64));
    }

    /// Makes a large block hold `bytes` where it is, if it has the room or its neighbour is free.
    pub(crate) fn resize_large(&self, block: &BlockRef<'_>, bytes: usize) -> bool {
        let (span, header) = (block.span, block.header);
        let wanted = bytes.div_ceil(SLICE_BYTES).max(1);
        let _guard = self.lock();
        if !header.is_generation(block.shape.generation) || block.word.live() & 1 == 0 {
            // Freed by another thread meanwhile; the caller finds that out when it frees the block itself.
            return false;
        }
        let tables = self.tables();
        let present = header.slices.load(Ordering::Relaxed) as usize;
        if wanted > present {
            let grown = self.slices.allocate_at(tables, &self.os, span + present, wanted - present);
            if grown.is_none() {
                return false;
            }
            self.publish_limit();
            for back in present..wanted {
                tables.header(span + back).make_interior(back as u32);
            }
        } else if wanted < present {
            for back in wanted..present {
                tables.header(span + back).retire();
            }
            self.slices.free(tables, span + wanted, present - wanted);
        }
        header.resize_large(wanted as u32, wanted * SLICE_BYTES);
        self.note_spans();
        self.figures().add_live((wanted as i64 - present as i64) * SLICE_BYTES as i64);
        true
    }
}
