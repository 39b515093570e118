//! Pages of free blocks go back to the system although their span is in use.
//!
//! A span with one live block holds 64 KiB: after a peak whose survivors lie scattered, most of the peak. So at each tick a thread
//! looks through its queued spans, the longest queued ones first. Where at least half of the blocks are free and have been for two
//! ticks, the pages that hold nothing but free blocks go back. No list says which those are: the blocks are as free as before,
//! and their next use fetches the page again. The span moves to the end of its queue, so that the others are used first, and this one
//! may become empty.
//!
//! Rejected: to bring the survivors together, as nobody may move a block; spans of a page each, as that is a header for each page.

use crate::heap::Heap;
use crate::mailbox::HeapState;
use crate::purge::Tick;
use crate::size_class::{CLASS_COUNT, CLASSES, Geometry, PAGE_BYTES, SLICE_BYTES};
use crate::span::{Listing, SliceState, SpanHeader};
use crate::thread_heap::ThreadHeap;
use crate::word::BLOCKS_PER_WORD;
use core::cell::Cell;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use hk_os::{Os, Purged};

/// Elsewhere the system's pages may be larger, and a purge of a part would take the rest with it.
const PAGES_ARE_SMALL: bool = cfg!(target_arch = "x86_64");
/// Spans that a thread looks at in one tick, and of one class, so that no class keeps the others from their turn.
const SPANS_PER_TICK: u32 = 1024;
const SPANS_PER_CLASS: u32 = 256;
/// Heaps of fewer spans (1 MiB) are left alone: what there is to gain is less than a program notices.
const SPAN_COUNT_MIN: u32 = 16;
/// Pages of a span that have to be free for the calls to be worth their while: a quarter.
const PAGES_SHARE: u32 = 4;
/// Thread heaps looked at in one tick for those that are orphans.
const ORPHANS_PER_TICK: u32 = 8;

/// How far a thread heap is in its look at the queues.
#[derive(Debug)]
pub(crate) struct IdleLook {
    /// The tick that it is about.
    tick: Cell<u32>,
    class: Cell<usize>,
    /// The span of that class to look at next + 1; 0 for the queue's first.
    span: Cell<u32>,
    classes_left: Cell<usize>,
    spans_left: Cell<u32>,
    spans_left_of_class: Cell<u32>,
}

/// What one call of malloc or free may still do: a bound on its time. The last span may take it a little further.
struct Allowance {
    spans: u32,
    /// System calls.
    runs: u32,
    /// Pages that they give back.
    pages: u32,
    gave_back: bool,
}

impl IdleLook {
    pub(crate) const fn new() -> Self {
        IdleLook {
            tick: Cell::new(0),
            class: Cell::new(0),
            span: Cell::new(0),
            classes_left: Cell::new(0),
            spans_left: Cell::new(0),
            spans_left_of_class: Cell::new(0),
        }
    }

    /// A new tick has all its turns before it, from the class on that has not had its own.
    fn begin(&self, tick: u32) {
        self.tick.set(tick);
        self.classes_left.set(CLASS_COUNT);
        self.spans_left.set(SPANS_PER_TICK);
        self.begin_class();
    }

    fn begin_class(&self) {
        self.span.set(0);
        self.spans_left_of_class.set(SPANS_PER_CLASS);
    }

    /// The class whose queue is to be looked at now.
    fn class(&self) -> Option<usize> {
        (self.classes_left.get() > 0 && self.spans_left.get() > 0).then(|| self.class.get())
    }

    fn next_class(&self) {
        self.class.set((self.class.get() + 1) % CLASS_COUNT);
        self.classes_left.set(self.classes_left.get().saturating_sub(1));
        self.begin_class();
    }

    /// A span is looked at, and then the one behind it.
    fn note_span(&self, next: u32) {
        self.spans_left.set(self.spans_left.get() - 1);
        self.spans_left_of_class.set(self.spans_left_of_class.get() - 1);
        self.span.set(next);
    }
}

impl Allowance {
    /// Of the thread's own heap: 4 MiB.
    const OWN: Self = Allowance { spans: 64, runs: 64, pages: 1024, gave_back: false };
    /// Of an orphan, which nobody can adopt meanwhile.
    const ORPHAN: Self = Allowance { spans: 32, runs: 8, pages: 128, gave_back: false };

    fn take(&mut self, pages: u32) {
        self.runs = self.runs.saturating_sub(1);
        self.pages = self.pages.saturating_sub(pages);
        self.gave_back = true;
    }

    fn is_used_up(&self) -> bool {
        self.spans == 0 || self.runs == 0 || self.pages == 0
    }
}

impl<O: Os> Heap<O> {
    /// Gives pages of the heap's idle spans back, as many as one call may. The heap is busy.
    pub(crate) fn purge_idle_pages(&self, heap: &ThreadHeap) -> Tick {
        self.purge_idle_pages_of(heap, Allowance::OWN)
    }

    fn purge_idle_pages_of(&self, heap: &ThreadHeap, mut allowance: Allowance) -> Tick {
        if !PAGES_ARE_SMALL || heap.span_count.get() < SPAN_COUNT_MIN {
            return Tick::Idle;
        }
        let tick = self.tick_count.load(Ordering::Relaxed);
        let look = &heap.idle_look;
        if look.tick.get() != tick {
            if look.span.get() != 0 {
                // The last tick ended in the midst of a class.
                self.end_class(heap, tick);
            }
            look.begin(tick);
        }
        while let Some(class) = look.class() {
            let Some(span) = self.next_due(heap, class, tick) else {
                self.end_class(heap, tick);
                continue;
            };
            if allowance.is_used_up() {
                return Tick::More;
            }
            allowance.spans -= 1;
            let header = self.header(span);
            look.note_span(header.next.load(Ordering::Relaxed));
            if self.purge_if_idle(span, &CLASSES[class], tick, &mut allowance) {
                self.queue_unlink(&heap.queues[class], span);
                self.queue_append(&heap.queues[class], span);
            }
        }
        if allowance.gave_back { Tick::Spent } else { Tick::Idle }
    }

    /// The span of a class to look at, if it was not looked at in this tick. Those behind one that was are new in the queue, or were moved
    /// to its end.
    fn next_due(&self, heap: &ThreadHeap, class: usize, tick: u32) -> Option<usize> {
        if heap.idle_look.spans_left_of_class.get() == 0 {
            return None;
        }
        let span =
            self.next_noted(heap, class).or_else(|| heap.queues[class].first.get().checked_sub(1))? as usize;
        self.header(span).idle.is_due(tick).then_some(span)
    }

    /// The span behind the one that was looked at last, if it is still in the queue.
    fn next_noted(&self, heap: &ThreadHeap, class: usize) -> Option<u32> {
        let is_there = |&span: &u32| {
            let header = self.header(span as usize);
            header.state() == SliceState::Small
                && header.is_owned_by(heap)
                && header.listing() == Listing::Queued
                && usize::from(header.class.load(Ordering::Relaxed)) == class
        };
        heap.idle_look.span.get().checked_sub(1).filter(is_there)
    }

    /// The look goes on to the next class. If it did not come to the end of this one's queue, those that it saw go behind the others, or
    /// it would see the same ones again at each tick.
    fn end_class(&self, heap: &ThreadHeap, tick: u32) {
        let look = &heap.idle_look;
        let class = look.class.get();
        if let Some(span) = self.next_noted(heap, class) {
            let idle = &self.header(span as usize).idle;
            // Not if it was queued anew in this tick.
            if idle.is_due(look.tick.get()) && idle.is_due(tick) {
                self.queue_rotate(&heap.queues[class], span as usize);
            }
        }
        look.next_class();
    }

    /// The same for heaps whose threads have ended, a few in each tick, by whoever comes first. The caller's heap is busy.
    pub(crate) fn purge_orphans_pages(&self) {
        let tick = self.tick_count.load(Ordering::Relaxed);
        // Relaxed: the exchange only elects who does it.
        let before = self.orphans_tick.load(Ordering::Relaxed);
        let exchange =
            || self.orphans_tick.compare_exchange(before, tick, Ordering::Relaxed, Ordering::Relaxed);
        if before == tick || exchange().is_err() {
            return;
        }
        let heap_count = self.heap_count();
        for _ in 0..ORPHANS_PER_TICK.min(heap_count) {
            let index = self.orphans_cursor.load(Ordering::Relaxed) % heap_count;
            self.purge_orphan_pages(index);
            self.orphans_cursor.store(index + 1, Ordering::Relaxed);
        }
    }

    fn purge_orphan_pages(&self, index: u32) {
        let heap = self.tables().heap(index as usize);
        let mailbox = &heap.shared.mailbox;
        if mailbox.state(self.generation()) != HeapState::Orphan {
            return;
        }
        // A handler that forks would leave its child an orphan in the midst of this, and one that leaves by longjmp everybody.
        let mask = self.os.block_signals();
        if mailbox.transfer(HeapState::Orphan, HeapState::Busy, self.generation()) {
            self.purge_idle_pages_of(heap, Allowance::ORPHAN);
            let done = mailbox.transfer(HeapState::Busy, HeapState::Orphan, self.generation());
            debug_assert!(done, "a busy heap changed hands");
        }
        self.os.restore_signals(mask);
        // What was pushed meanwhile is ours to look after.
        self.drain_if_ownerless(index);
    }

    /// True if pages went back.
    fn purge_if_idle(&self, span: usize, geometry: &Geometry, tick: u32, allowance: &mut Allowance) -> bool {
        let header = self.header(span);
        let used = header.tally.used();
        let is_idle = header.idle.note_look(tick, used <= geometry.block_count / 2);
        if !is_idle || !header.idle.has_more_free(used, geometry.share) {
            return false;
        }
        header.idle.note_purge(used);
        let free = self.free_pages(header, geometry);
        free.count_ones() >= page_count(geometry) / PAGES_SHARE && self.purge_pages(span, free, allowance)
    }

    /// Gives all pages of free blocks in the heap's queued spans back at once. True if there were any.
    pub fn trim_spans(&self, heap: &ThreadHeap) -> bool {
        let mut some = false;
        if !PAGES_ARE_SMALL {
            return some;
        }
        heap.set_busy(true);
        for (queue, geometry) in heap.queues.iter().zip(&CLASSES) {
            let mut at = queue.first.get();
            while let Some(span) = at.checked_sub(1) {
                let span = span as usize;
                let header = self.header(span);
                at = header.next.load(Ordering::Relaxed);
                let used = header.tally.used();
                if header.idle.has_more_free(used, 1) {
                    header.idle.note_purge(used);
                    let free = self.free_pages(header, geometry);
                    let mut all =
                        Allowance { spans: u32::MAX, runs: u32::MAX, pages: u32::MAX, gave_back: false };
                    some |= self.purge_pages(span, free, &mut all);
                }
            }
        }
        heap.set_busy(false);
        some
    }

    /// Gives these pages of a span back; false if the system keeps them, or there are none.
    fn purge_pages(&self, span: usize, pages: u64, allowance: &mut Allowance) -> bool {
        let header = self.header(span);
        let mut some = false;
        for run in runs_of(pages) {
            allowance.take(run.len() as u32);
            let start = self.block_place(header.start.load(Ordering::Relaxed) + run.start * PAGE_BYTES);
            let Some(start) = NonNull::new(start) else { break };
            // SAFETY: pages of the heap's own span in which no block is live or available, nor can become so before the owner, who is
            // here, exposes it.
            if unsafe { self.os.purge(start, run.len() * PAGE_BYTES) } == Purged::Kept {
                break;
            }
            some = true;
        }
        if some {
            let slices = header.slices.load(Ordering::Relaxed) as usize;
            let _guard = self.lock();
            self.slices.note_holes(self.tables(), span..span + slices);
        }
        some
    }

    /// The pages of a span in which no byte belongs to a block that is not free.
    fn free_pages(&self, header: &SpanHeader, geometry: &Geometry) -> u64 {
        let mut pages = 0;
        for page in 0..page_count(geometry) as usize {
            let first = page * PAGE_BYTES / geometry.block_bytes as usize;
            let end = ((page + 1) * PAGE_BYTES).div_ceil(geometry.block_bytes as usize);
            let blocks = first..end.min(geometry.block_count as usize);
            pages |= u64::from(self.are_free(header, blocks)) << page;
        }
        pages
    }

    fn are_free(&self, header: &SpanHeader, blocks: Range<usize>) -> bool {
        let mut at = blocks.start;
        while at < blocks.end {
            let bit = at % BLOCKS_PER_WORD;
            let count = (BLOCKS_PER_WORD - bit).min(blocks.end - at);
            let mask = (u64::MAX >> (BLOCKS_PER_WORD - count)) << bit;
            if !self.word(header, (at / BLOCKS_PER_WORD) as u32).freed() & mask != 0 {
                return false;
            }
            at += count;
        }
        true
    }
}

fn page_count(geometry: &Geometry) -> u32 {
    geometry.slices * (SLICE_BYTES / PAGE_BYTES) as u32
}

/// Runs of set bits, from the lowest.
fn runs_of(bits: u64) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let rest = bits.checked_shr(at).unwrap_or(0);
        if rest == 0 {
            return None;
        }
        let start = at + rest.trailing_zeros();
        let end = start + (bits >> start).trailing_ones();
        at = end;
        Some(start as usize..end as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn runs_of_bits() {
        let runs = |bits| runs_of(bits).collect::<Vec<_>>();
        assert_eq!(runs(0), []);
        assert_eq!(runs(!0).first(), Some(&(0..64)));
        assert_eq!(runs(1 | 6 << 2 | 1 << 63), [0..1, 3..5, 63..64]);
    }

    #[test]
    fn pages_of_all_classes_fit_a_mask() {
        assert!(CLASSES.iter().all(|geometry| page_count(geometry) <= u64::BITS));
    }
}
