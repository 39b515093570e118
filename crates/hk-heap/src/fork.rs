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

/// Told that the process was forked unannounced. It must not call the heap for what needs the lock.
pub type ForkNoticed = fn();

impl<O: Os> Heap<O> {
    /// The central lock.
    pub(crate) fn lock(&self) -> Guard<'_, O> {
        let (guard, found) = self.lock.lock(&self.os, self.expects_signals());
        if found != Found::InOrder {
            self.arrive(found);
        }
        guard
    }

    /// Who is told that this process is a fork child, if no handler of libc's fork did. The lock is held meanwhile.
    pub fn set_fork_noticed(&self, told: ForkNoticed) {
        self.fork_noticed.store(told as *mut (), Ordering::Release);
    }

    /// Looks whether this process is a child of such a fork, where nobody has noticed yet.
    pub fn notice_fork(&self) {
        if self.lock.is_after_fork() && !self.is_reentered() {
            drop(self.lock());
        }
    }

    /// In a child of a fork that nobody was told of, by the first thread that has the lock.
    #[cold]
    fn arrive(&self, found: Found) {
        if !self.is_started() {
            return;
        }
        self.process.store(self.os.process_id(), Ordering::Relaxed);
        self.end_releases();
        if found == Found::Abandoned {
            self.recover_abandoned();
        } else {
            self.slices.keep_purging(self.tables(), self.os.thread_token());
        }
        self.relist_orphans();
        let told = self.fork_noticed.load(Ordering::Acquire);
        if !told.is_null() {
            // SAFETY: not null, so it was stored by `set_fork_noticed` from a function of this very type.
            let told: ForkNoticed = unsafe { core::mem::transmute(told) };
            told();
        }
    }

    /// Before fork: takes the lock, so that the child finds what it guards whole.
    pub fn prepare_fork(&self) {
        let found = self.lock.lock_raw(&self.os, self.expects_signals());
        if found != Found::InOrder {
            self.arrive(found);
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
        self.end_releases();
        self.stale_cursor.set(0);
        // Threads that only free have no heap, so their number says nothing. What a signal handler that forks interrupted goes on when it
        // returns, and keeps what it has in hand.
        let is_interrupted = heap.is_busy() && !heap.is_sentinel();
        if !self.forks_alone.load(Ordering::Relaxed) && !is_interrupted {
            self.slices.keep_purging(self.tables(), self.os.thread_token());
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
    fn recover_abandoned(&self) {
        let tables = self.tables();
        self.words.forget();
        self.slices.forget_rest();
        self.slices.keep_purging(tables, self.os.thread_token());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::Options;
    use crate::size_class::SLICE_SHIFT;
    use crate::slices::Which;
    use hk_os::{Fake, Purged};
    use std::vec::Vec;

    const LARGE_SLICES: usize = 6;

    /// A heap as a fork left it: its lock held by a thread that is not here.
    struct Left {
        heap: Heap<Fake>,
        /// First slices of large spans.
        large: [usize; 3],
        small: Vec<*mut u8>,
    }

    impl Left {
        fn new() -> Self {
            let heap = Heap::new(Fake::new(256 << 20));
            heap.start(&Options { reserve_bytes_max: 256 << 20, ..Options::default() }).unwrap();
            let (mine, other) = (heap.attach().unwrap(), heap.attach().unwrap());
            let small = (0..500).map(|_| heap.allocate(mine, 1000)).collect();
            let base = heap.tables().base().addr().get();
            let large = [(); 3].map(|()| {
                let block = heap.allocate(mine, LARGE_SLICES * SLICE_BYTES);
                (block.addr() - base) >> SLICE_SHIFT
            });
            // Something rests, something is free.
            for bytes in [100_000, 3_000_000, 200_000] {
                heap.free(mine, heap.allocate(mine, bytes)).unwrap();
            }
            heap.detach(other);
            heap.verify();
            // By another thread: its own holder would be in a signal handler.
            let found = std::thread::scope(|scope| {
                scope.spawn(|| heap.lock.lock_raw(&heap.os, false)).join().expect("it only locks")
            });
            assert_eq!(found, Found::InOrder);
            Left { heap, large, small }
        }

        fn large_block(&self, nth: usize) -> *mut u8 {
            self.heap.tables().slice_start(self.large[nth]).as_ptr()
        }

        fn large_header(&self, nth: usize) -> &SpanHeader {
            self.heap.header(self.large[nth])
        }

        /// The child goes on: everything fits together, and can be used. Gives the number of live blocks.
        fn go_on(self) -> u64 {
            let heap = self.heap;
            heap.os.fork();
            let mine = heap.tables().heap(0);
            let zeros = heap.allocate_zeroed(mine, 500_000);
            // SAFETY: a new block of that size.
            let zeros = unsafe { core::slice::from_raw_parts_mut(zeros, 500_000) };
            assert!(zeros.iter().all(|&byte| byte == 0));
            heap.verify();
            let orphan = heap.attach().unwrap();
            assert_eq!((orphan.index(), heap.heap_count()), (1, 2), "the orphan is found");
            let more: Vec<_> = (0..3000).map(|n| heap.allocate(orphan, 1 + n * 37 % 9000)).collect();
            for block in self.small.into_iter().chain(more).chain([zeros.as_mut_ptr()]) {
                heap.free(mine, block).unwrap();
            }
            heap.detach(orphan);
            heap.trim();
            heap.verify();
            heap.count().live_blocks
        }
    }

    #[test]
    fn a_lock_that_was_held_for_nothing_yet() {
        assert_eq!(Left::new().go_on(), 3);
    }

    #[test]
    fn headers_caught_while_they_change() {
        let left = Left::new();
        for slice in [left.large[0], left.large[1], left.heap.slices.top() - 1] {
            left.heap.header(slice).begin_change_for_ever();
        }
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn a_large_block_caught_while_it_shrinks() {
        let left = Left::new();
        // Two of three slices that it gives up say so already.
        left.heap.header(left.large[0] + 3).retire();
        left.heap.header(left.large[0] + 4).retire();
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn a_large_block_caught_while_it_grows() {
        let left = Left::new();
        left.large_header(0).slices.store(LARGE_SLICES as u32 - 2, Ordering::Relaxed);
        left.large_header(0).begin_change_for_ever();
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn a_large_block_caught_while_it_is_retired() {
        let left = Left::new();
        left.large_header(2).retire();
        left.large_header(2).begin_change_for_ever();
        assert_eq!(left.go_on(), 2);
    }

    #[test]
    fn a_large_block_caught_while_it_is_made() {
        let left = Left::new();
        let run = left.heap.slices.allocate(left.heap.tables(), &left.heap.os, 4, 1).unwrap();
        // Fields of whatever span was there before.
        left.heap.header(run.start).make_large(1, 9, 77, core::ptr::null_mut());
        left.heap.header(run.start).begin_change_for_ever();
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn slices_caught_between_free_and_used() {
        let left = Left::new();
        left.heap.slices.allocate(left.heap.tables(), &left.heap.os, 5, 1).unwrap();
        left.heap.slices.miscount();
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn words_caught_on_their_way_to_the_pool() {
        let left = Left::new();
        let (heap, tables) = (&left.heap, left.heap.tables());
        let run = heap.slices.allocate(tables, &heap.os, 1, 1).unwrap();
        let header = heap.header(run.start);
        heap.words.provide(tables, &heap.os, header, 4).unwrap();
        header.words.store(heap.words.provide(tables, &heap.os, header, 4).unwrap(), Ordering::Relaxed);
        // More are provided, these go to the pool, and the header does not know yet.
        let (words, capacity) =
            (header.words.load(Ordering::Relaxed), header.word_capacity.load(Ordering::Relaxed));
        heap.words.provide(tables, &heap.os, header, 32).unwrap();
        header.word_capacity.store(capacity, Ordering::Relaxed);
        header.words.store(words, Ordering::Relaxed);
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn a_block_caught_while_it_shrinks_can_be_freed_first_of_all() {
        let left = Left::new();
        left.heap.header(left.large[0] + 3).retire();
        left.heap.header(left.large[0] + 4).retire();
        left.heap.os.fork();
        left.heap.free(left.heap.tables().heap(0), left.large_block(0)).unwrap();
        assert_eq!(left.go_on(), 2);
    }

    #[test]
    fn a_block_caught_while_its_header_changes_can_be_freed_first_of_all() {
        let left = Left::new();
        left.large_header(1).begin_change_for_ever();
        left.heap.os.fork();
        assert_eq!(left.heap.usable_bytes(left.large_block(1)), Ok(LARGE_SLICES * SLICE_BYTES));
        left.heap.free(left.heap.tables().heap(0), left.large_block(1)).unwrap();
        assert_eq!(left.go_on(), 2);
    }

    #[test]
    fn an_orphan_that_was_being_drained_is_not_waited_for() {
        let left = Left::new();
        left.heap.lock.unlock_raw(&left.heap.os);
        let orphan = &left.heap.tables().heap(1).shared.mailbox;
        assert!(orphan.transfer(HeapState::Orphan, HeapState::Busy, left.heap.generation()));
        left.heap.os.fork();
        assert_eq!(left.heap.attach().unwrap().index(), 2);
        assert_eq!(left.heap.orphans.get(), 0);
    }

    #[test]
    fn what_the_forking_thread_was_purging_stays_in_its_hands() {
        let left = Left::new();
        let (heap, tables) = (&left.heap, left.heap.tables());
        let me = heap.os.thread_token();
        let begin = |thread| heap.slices.begin_purge(tables, usize::MAX, 3, Which::Any, thread).unwrap();
        let (mine, other) = (begin(me), begin(me + 1));
        heap.os.fork();
        heap.notice_fork();
        assert!(!heap.slices.is_free(tables, mine.run.start));
        assert!(heap.slices.is_free(tables, other.run.start));
        for in_hand in [mine, other] {
            let _guard = heap.lock();
            heap.slices.finish_purge(tables, in_hand, Purged::Zeroed);
        }
        assert_eq!(left.go_on(), 3);
    }

    #[test]
    fn an_orphan_caught_on_its_way_to_the_list() {
        let left = Left::new();
        left.heap.orphans.set(0);
        assert_eq!(left.go_on(), 3);
    }
}
