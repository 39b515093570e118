//! Thread heaps: who has which, and what happens to them when threads end or the process forks ([`crate::fork`]).
//!
//! Heaps are made once and never unmapped. A new thread first takes over an orphan, whole; so tens of
//! thousands of short threads need no more heaps than ever ran at the same time.
//!
//! In a fork child the heaps of the parent's other threads are [`HeapState::Stale`]: their words are whole, as
//! every block moves by setting its destination before clearing its source, but their lists may have been
//! caught half changed. They are rebuilt from the words when somebody takes them over, not before: a child that
//! calls exec at once pays nothing.

use crate::heap::Heap;
use crate::mailbox::{HeapIndex, HeapState};
use crate::size_class::CLASS_COUNT;
use crate::span::{Listing, SliceState};
use crate::thread_heap::ThreadHeap;
use crate::word::BLOCKS_PER_WORD;
use core::sync::atomic::{AtomicU32, Ordering};
use hk_os::Os;

/// Looks at an orphan that is being drained before sleeping, and sleeps of a millisecond before another heap is made instead: the
/// drainer may wait for its turn on a busy machine.
const ADOPT_SPINS: u32 = 1000;
const ADOPT_SLEEPS_MAX: u32 = 20;

impl<O: Os> Heap<O> {
    /// A heap for the calling thread: an orphan, or a new one. None if there is no memory.
    pub fn attach(&self) -> Option<&ThreadHeap> {
        let heap = self.adopt().or_else(|| self.make_heap())?;
        self.drain_mail(heap);
        Some(heap)
    }

    fn adopt(&self) -> Option<&ThreadHeap> {
        loop {
            let heap = {
                let _guard = self.lock();
                let Some(first) = self.orphans.get().checked_sub(1) else { break };
                let heap = self.tables().heap(first as usize);
                self.orphans.set(heap.shared.next_orphan.load(Ordering::Relaxed));
                heap.shared.is_listed.store(false, Ordering::Relaxed);
                heap
            };
            // A drainer holds it for a moment, and sets it back to orphan; but that may be the very thread that this
            // signal handler interrupted.
            let mailbox = &heap.shared.mailbox;
            for attempt in 0.. {
                if attempt > ADOPT_SPINS + ADOPT_SLEEPS_MAX {
                    self.list_orphan(heap);
                    return None;
                }
                if attempt > ADOPT_SPINS {
                    // Nobody wakes us: it would cost each drainer a system call.
                    self.os.wait(&AtomicU32::new(0), 0, 1);
                }
                if mailbox.transfer(HeapState::Orphan, HeapState::Running, self.generation()) {
                    return Some(heap);
                }
                match mailbox.state(self.generation()) {
                    HeapState::Orphan | HeapState::Busy => core::hint::spin_loop(),
                    _ => break,
                }
            }
        }
        self.adopt_stale()
    }

    /// Takes over a heap whose thread did not survive a fork.
    fn adopt_stale(&self) -> Option<&ThreadHeap> {
        loop {
            let index = {
                let _guard = self.lock();
                let index = self.stale_cursor.get();
                if index >= self.heap_count.load(Ordering::Relaxed) {
                    return None;
                }
                self.stale_cursor.set(index + 1);
                index
            };
            let heap = self.tables().heap(index as usize);
            if heap.shared.mailbox.transfer(HeapState::Stale, HeapState::Running, self.generation()) {
                self.rebuild(heap);
                return Some(heap);
            }
            // An orphan that the fork caught on its way to or from the list.
            if heap.shared.mailbox.transfer(HeapState::Orphan, HeapState::Running, self.generation()) {
                return Some(heap);
            }
        }
    }

    fn make_heap(&self) -> Option<&ThreadHeap> {
        let _guard = self.lock();
        let tables = self.tables();
        let index = self.heap_count.load(Ordering::Relaxed);
        let end = index as usize + 1;
        if end * size_of::<ThreadHeap>() > tables.heaps_bytes() || !tables.ensure_heaps(&self.os, end) {
            return None;
        }
        // SAFETY: the place is committed, aligned, and nobody knows of it before the count goes past it.
        unsafe { tables.heap_place(index as usize).write(ThreadHeap::with_index(index as HeapIndex)) };
        // Spans hold their owner's address.
        tables.heap_place(index as usize).expose_provenance();
        let heap = tables.heap(index as usize);
        let running = heap.shared.mailbox.transfer(HeapState::New, HeapState::Running, self.generation());
        assert!(running, "a new heap belongs to its maker");
        // Release: who sees the count sees the heap.
        self.heap_count.store(index + 1, Ordering::Release);
        // A heap made in this generation is not stale.
        if self.stale_cursor.get() == index {
            self.stale_cursor.set(index + 1);
        }
        let error = u64::from(index + 1) * crate::figures::ERROR_BYTES_PER_HEAP;
        self.figures().live_error_bytes.store(error, Ordering::Relaxed);
        Some(heap)
    }

    /// The calling thread ends: its heap becomes an orphan. It must not be used by the thread afterwards.
    pub fn detach(&self, heap: &ThreadHeap) {
        if heap.is_busy() {
            // A signal handler ended the thread, or left by longjmp, while malloc was under way.
            self.rebuild(heap);
        }
        let spans = heap.span_count.get();
        self.drain_mail(heap);
        let retired = heap.span_count.get() < spans;
        self.figures().add_live(heap.live_delta.replace(0));
        let mailbox = &heap.shared.mailbox;
        let orphaned = mailbox.transfer(HeapState::Running, HeapState::Orphan, self.generation());
        assert!(orphaned, "only a running heap is detached");
        // What was pushed before the state changed is ours to look after; later pushers see the orphan.
        let retired = self.drain_if_ownerless(heap.index()) || retired;
        self.list_orphan(heap);
        if retired {
            self.look_after_retire();
        }
    }

    fn list_orphan(&self, heap: &ThreadHeap) {
        let _guard = self.lock();
        // It may have been adopted by another way (see `adopt_stale`), and be an orphan again, since it was to be listed first.
        if heap.shared.is_listed.swap(true, Ordering::Relaxed) {
            return;
        }
        heap.shared.next_orphan.store(self.orphans.get(), Ordering::Relaxed);
        self.orphans.set(heap.index() + 1);
    }

    /// Makes the list of orphans anew, under the lock, in a fork child where nobody else had it yet.
    pub(crate) fn relist_orphans(&self) {
        self.orphans.set(0);
        for index in 0..self.heap_count() {
            let shared = &self.tables().heap(index as usize).shared;
            let is_orphan = shared.mailbox.state(self.generation()) == HeapState::Orphan;
            shared.is_listed.store(is_orphan, Ordering::Relaxed);
            if is_orphan {
                shared.next_orphan.store(self.orphans.get(), Ordering::Relaxed);
                self.orphans.set(index + 1);
            }
        }
    }

    /// Number of heaps ever made.
    pub fn heap_count(&self) -> u32 {
        self.heap_count.load(Ordering::Acquire)
    }

    /// Number of heaps whose threads run.
    pub fn running_count(&self) -> usize {
        let running = |&index: &u32| {
            let mailbox = &self.tables().heap(index as usize).shared.mailbox;
            mailbox.state(self.generation()) == HeapState::Running
        };
        (0..self.heap_count()).filter(running).count()
    }

    /// Sets flags on all spans.
    pub(crate) fn flag_spans(&self, flags: u64) {
        for slice in 0..self.slices.top() {
            let header = self.tables().header(slice);
            if header.state() == SliceState::Small && header.owner().is_some() {
                // AcqRel: an owner may change only by an RMW or with the heap's state in hand.
                header.owner_and_flags.fetch_or(flags, Ordering::AcqRel);
            }
        }
    }

    /// Makes a stale heap usable: its lists are made anew from its spans' words. The caller holds its state. The
    /// mailbox is in order since the fork; others may be filling it.
    fn rebuild(&self, heap: &ThreadHeap) {
        heap.set_busy(false);
        heap.set_transit(core::ptr::null_mut());
        for class in 0..CLASS_COUNT {
            heap.cursors[class].leave(&heap.bins[class]);
            heap.queues[class].first.set(0);
            heap.queues[class].last.set(0);
        }
        heap.span_count.set(0);
        self.each_span_of(heap, |_| heap.span_count.set(heap.span_count.get() + 1));
        self.each_span_of(heap, |span| self.rebuild_span(heap, span));
    }

    fn rebuild_span(&self, heap: &ThreadHeap, span: usize) {
        let header = self.tables().header(span);
        header.set_listing(Listing::Full);
        let (mut used, mut touched) = (0, header.tally.touched());
        for index in 0..header.word_count() {
            let word = self.word(header, index);
            word.unexpose();
            let used_here = !word.freed();
            used += used_here.count_ones();
            if used_here != 0 {
                touched = touched.max(index * BLOCKS_PER_WORD as u32 + used_here.ilog2() + 1);
            }
        }
        header.tally.recount(used, touched);
        self.claim_all(heap, span);
        self.settle(heap, span);
    }

    /// Calls `visit` with each span that `heap` owns. It may retire the span.
    pub(crate) fn each_span_of(&self, heap: &ThreadHeap, mut visit: impl FnMut(usize)) {
        let mut slice = 0;
        while slice < self.slices.top() {
            let header = self.tables().header(slice);
            let owned = header.state() == SliceState::Small && header.is_owned_by(heap);
            let step = if owned { header.slices.load(Ordering::Relaxed) as usize } else { 1 };
            if owned {
                visit(slice);
            }
            slice += step;
        }
    }
}
