//! Memory goes back to the system: some time after it was freed, or at once when the program asks.

use crate::heap::Heap;
use crate::size_class::SLICE_BYTES;
use crate::slices::{Which, purge_run};
use core::sync::atomic::Ordering;
use hk_os::Os;

/// Most slices that one call of malloc or free gives back (4 MiB, 1024 pages): a bound on its time.
const SLICES_PER_CALL_MAX: usize = 64;
/// Ticks that are closer are counted as one: with a delay of 0 each look at the clock is a tick.
const TICK_MS_MIN: u64 = 16;
/// Most slices of one system call where the program asked for all to go back.
const SLICES_PER_SYSTEM_CALL_MAX: usize = 512;

/// What a look at the clock came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing went back.
    Idle,
    /// Something did: this call has done its share.
    Spent,
    /// As much as one call may; there is more, and another call should soon go on.
    More,
}

impl<O: Os> Heap<O> {
    /// Looks at the clock, and gives back what was free at the last tick already.
    pub(crate) fn tick(&self) -> Tick {
        self.tick_at(self.os.now_ms())
    }

    /// The same for who has read the clock.
    pub(crate) fn tick_at(&self, now: u64) -> Tick {
        self.free_postponed();
        let next = self.next_tick_ms.load(Ordering::Relaxed);
        if now < next {
            return Tick::Idle;
        }
        let delay = u64::from(self.purge_delay_ms.load(Ordering::Relaxed));
        // Relaxed: the exchange only elects who does it.
        let won =
            self.next_tick_ms.compare_exchange(next, now + delay / 2, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_err() {
            return Tick::Idle;
        }
        self.count_tick(now, delay / 2);
        let purged = self.purge(SLICES_PER_CALL_MAX, if delay == 0 { Which::Any } else { Which::Aged });
        if purged >= SLICES_PER_CALL_MAX {
            // What is left is due already. Relaxed: as above.
            self.next_tick_ms.store(now, Ordering::Relaxed);
            return Tick::More;
        }
        let _guard = self.lock();
        self.slices.age(self.tables());
        if purged > 0 { Tick::Spent } else { Tick::Idle }
    }

    /// Counts a tick, whatever there is left to do about it. While there is, ticks come one after the other, which are not counted.
    fn count_tick(&self, now: u64, apart_ms: u64) {
        let counted = self.counted_tick_ms.load(Ordering::Relaxed);
        // Relaxed: the count only says that time has passed; and the exchange elects one of several that came at once.
        let is_counted = || {
            self.counted_tick_ms.compare_exchange(counted, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now >= counted + apart_ms.max(TICK_MS_MIN) && is_counted() {
            self.tick_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// After a span was given up that is no heap's, or that of a heap that will not look itself: looks at the clock, or gives a little back if
    /// very much is free.
    pub(crate) fn look_after_retire(&self) {
        if self.tick() == Tick::Idle {
            self.purge_if_pressed();
        }
    }

    /// Gives a little back if very much is free. True if it did.
    pub(crate) fn purge_if_pressed(&self) -> bool {
        if !self.slices.may_be_pressed() {
            return false;
        }
        let is_pressed = {
            let _guard = self.lock();
            self.slices.note_pressure()
        };
        if !is_pressed {
            return false;
        }
        let purged = self.purge(SLICES_PER_CALL_MAX, Which::Whole);
        let _guard = self.lock();
        self.slices.note_pressed_out(purged);
        purged > 0
    }

    /// Has the system split a huge page of which a part went back. False if there is none.
    pub(crate) fn split_holed(&self) -> bool {
        if !self.slices.has_holed() {
            return false;
        }
        let tables = self.tables();
        let Some(slices) = ({
            let _guard = self.lock();
            self.slices.take_holed(tables)
        }) else {
            return false;
        };
        let start = tables.slice_start(slices.start);
        // SAFETY: below the top, so committed.
        unsafe { self.os.split_huge(start, slices.len() * SLICE_BYTES) };
        true
    }

    /// Gives all free memory back at once. True if there was any.
    pub fn trim(&self) -> bool {
        if !self.is_started() {
            return false;
        }
        self.free_postponed();
        self.end_rest();
        let purged = self.purge(usize::MAX, Which::Any) > 0;
        while self.split_holed() {}
        purged
    }

    fn end_rest(&self) {
        let _guard = self.lock();
        self.slices.end_rest(self.tables());
    }

    /// Gives back at most `slices_max` slices; says how many.
    fn purge(&self, slices_max: usize, which: Which) -> usize {
        let tables = self.tables();
        let mut purged = 0;
        let mut below = usize::MAX;
        while purged < slices_max {
            let count_max = SLICES_PER_SYSTEM_CALL_MAX.min(slices_max - purged);
            let taken = {
                let _guard = self.lock();
                self.slices.begin_purge(tables, below, count_max, which, self.os.thread_token())
            };
            let Some(in_hand) = taken else { break };
            let result = purge_run(tables, &self.os, in_hand.run);
            let _guard = self.lock();
            self.slices.finish_purge(tables, in_hand, result);
            purged += in_hand.run.count;
            below = in_hand.run.start;
        }
        purged
    }
}
