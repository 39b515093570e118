//! The heap in a fork child, where the parent's other threads are not.
//!
//! libc's fork calls handlers, which take the lock before it and so have what the lock guards copied whole. What other threads had in
//! their hands, outside the lock, is looked for and given back. In a child of a fork by a bare system call nobody is told; such a child
//! is noticed when it wants the lock ([`crate::fork_mark`]). If another thread held that, what it guards may be half
//! changed, and is made anew from what is written in one step: the spans' states, and which slices are free.
//!
//! The parent's other thread heaps become stale in the first kind of child, to be taken over; in the second they stay as they are,
//! as other threads may run by then. What they have is then lost to that child, but live blocks of theirs are as good as any.

use crate::heap::Heap;
use crate::lock::{Found, Guard};
use crate::mailbox::{HeapState, resend};
use crate::size_class::SLICE_BYTES;
use crate::span::{SliceState, SpanHeader};
use crate::thread_heap::ThreadHeap;
use core::sync::atomic::Ordering;
use hk_os::Os;

impl<O: Os> Heap<O> {
    /// The central lock.
    pub(crate) fn lock(&self) -> Guard<'_, O> {
        let (guard, found) = self.lock.lock(&self.os, self.expects_signals());
        if found == Found::Abandoned {
            self.recover_abandoned();
        }
        guard
    }

    /// Before fork: takes the lock, so that the child finds what it guards whole.
    pub fn prepare_fork(&self) {
        if self.lock.lock_raw(&self.os, self.expects_signals()) == Found::Abandoned {
            self.recover_abandoned();
        }
        // Here, as libc may change it in the child.
        self.forks_alone.store(self.is_single_threaded(), Ordering::Relaxed);
    }

    /// After fork, in the parent.
    pub fn after_fork_in_parent(&self) {
        self.lock.unlock_raw(&self.os);
    }

    /// After fork, in the child, which has one thread, with heap `heap` (or the sentinel). All other heaps
    /// become stale.
    pub fn after_fork_in_child(&self, heap: &ThreadHeap) {
        self.lock.keep_after_fork();
        let old = self.generation();
        self.fork_generation.store(old + 1, Ordering::Relaxed);
        if !heap.is_sentinel() {
            let mine = heap.shared.mailbox.transfer(HeapState::Stale, HeapState::Running, old + 1);
            assert!(mine, "the forking thread's heap was running");
        }
        self.process.store(self.os.process_id(), Ordering::Relaxed);
        self.stale_cursor.set(0);
        // Threads that only free have no heap, so their number says nothing. What a signal handler that forks interrupted goes on when it
        // returns, and keeps what it has in hand.
        let is_interrupted = heap.is_busy() && !heap.is_sentinel();
        if !self.forks_alone.load(Ordering::Relaxed) && !is_interrupted {
            self.recover_slices();
            self.resend_mail();
        }
        self.lock.unlock_raw(&self.os);
    }

    /// In a fork child, by who has the lock, before anybody else had it there: slices that threads of the parent had in hand,
    /// between taking them and owning them, or to give their memory back, are free again.
    fn recover_slices(&self) {
        let mut slice = 0;
        while slice < self.slices.top() {
            let header = self.header(slice);
            slice += if is_in_use(header) {
                header.slices.load(Ordering::Relaxed).max(1) as usize
            } else {
                if header.state() == SliceState::Small {
                    header.retire();
                }
                self.slices.recover(self.tables(), slice);
                1
            };
        }
    }

    /// In a fork child, while it has one thread: what was on its way to a mailbox may have been in the hands of a
    /// thread that is not here. All mailboxes are filled anew from the spans that have something pending.
    fn resend_mail(&self) {
        for index in 0..self.heap_count() {
            self.tables().heap(index as usize).shared.mailbox.clear();
        }
        for span in 0..self.slices.top() as u32 {
            if !self.header(span as usize).pending.0.is_empty() {
                resend(self, span);
            }
        }
    }

    /// In a fork child, by who took over a lock that another thread held at the fork. See the module head.
    #[cold]
    fn recover_abandoned(&self) {
        let tables = self.tables();
        self.process.store(self.os.process_id(), Ordering::Relaxed);
        self.words.forget();
        self.slices.forget_rest();
        let top = self.slices.top();
        (0..top).for_each(|slice| self.header(slice).end_change());
        for slice in 0..top {
            let header = self.header(slice);
            if header.state() == SliceState::Large {
                self.mend_large(slice, header);
            }
            if !is_in_use(header) && !self.slices.is_free(tables, slice) {
                // They may be in the pool too, and in the hands of who was about to use them: nobody's any more.
                header.word_capacity.store(0, Ordering::Relaxed);
            }
        }
        self.recover_slices();
        self.slices.recount(tables);
        self.relist_orphans();
    }

    /// A large span that was being made, retired or changed in size ends with the slices that say that they are in it.
    fn mend_large(&self, span: usize, header: &SpanHeader) {
        let is_inside = |back: usize| {
            let slice = span + back;
            slice < self.slices.top()
                && self.header(slice).is_interior(back as u32)
                && !self.slices.is_free(self.tables(), slice)
        };
        let slices = header.slices.load(Ordering::Relaxed) as usize;
        let start = self.tables().slice_start(span).addr().get();
        let begins_well =
            header.start.load(Ordering::Relaxed) == start && !header.words.load(Ordering::Relaxed).is_null();
        if begins_well
            && header.block_bytes.load(Ordering::Relaxed) == slices * SLICE_BYTES
            && (1..slices).all(is_inside)
        {
            return;
        }
        // SAFETY: not null, so they are words, and a span has at least one.
        if begins_well && unsafe { header.word_of(0) }.live() & 1 != 0 {
            let present = (1..).take_while(|&back| is_inside(back)).count() + 1;
            header.resize_large(present as u32, present * SLICE_BYTES);
        } else {
            header.retire();
        }
    }
}

/// Whether the slice is the first of a span that somebody has.
fn is_in_use(header: &SpanHeader) -> bool {
    match header.state() {
        SliceState::Large => true,
        SliceState::Small => header.owner().is_some(),
        SliceState::Fresh | SliceState::Interior | SliceState::Retired => false,
    }
}
