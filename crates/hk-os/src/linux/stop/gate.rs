//! Who is there, and when all may go on.
//!
//! A gate is closed for one stop after another, each of which has a number. Whoever comes with another number is late and goes on at once. Threads
//! touch nothing of the gate once it was opened, so that it can be closed again at any time. (tests/loom_gate.rs has its model.)

use super::sync::{AtomicU32, AtomicU64, Ordering, wait, wake};

/// A waiting thread looks again after so long, whatever it was told.
const SLEEP_MS_MAX: u32 = 100;
/// The same for who waits for arrivals.
const ARRIVAL_MS_MAX: u32 = 1;

/// A thread's place.
#[derive(Debug)]
pub(super) struct Slot {
    /// Whose it is.
    pub(super) thread: AtomicU32,
    /// For which stop it is, and where the thread's context lies; without the latter it is not there. In one word, so that a thread that comes in
    /// the very moment in which its stop is given up does not come to the next.
    pub(super) state: AtomicU64,
}

/// Addresses have 47 bits; above them is the number of the stop, which comes again after 65,536 of them.
const EPOCH_SHIFT: u32 = 48;

/// Of a slot whose thread is not there.
fn expected(epoch: u32) -> u64 {
    u64::from(epoch >> 1) << EPOCH_SHIFT
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Gate<const SLOTS: usize> {
    /// Odd while it is closed.
    pub(super) epoch: AtomicU32,
    /// How many have come, in all.
    pub(super) arrivals: AtomicU32,
    pub(super) slots: [Slot; SLOTS],
}

impl<const SLOTS: usize> Gate<SLOTS> {
    /// The number of the present stop.
    pub(super) fn epoch(&self) -> u32 {
        // Relaxed: written by the same thread.
        self.epoch.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        let epoch = self.epoch();
        debug_assert!(epoch.is_multiple_of(2), "closed twice");
        // Release: who sees it closed writes to slots that nobody reads for an earlier stop any more.
        self.epoch.store(epoch.wrapping_add(1), Ordering::Release);
    }

    /// Lets all go on. What was done while they waited they see.
    pub(super) fn open(&self) {
        let epoch = self.epoch();
        if !epoch.is_multiple_of(2) {
            // Release: see above.
            self.epoch.store(epoch.wrapping_add(1), Ordering::Release);
            wake(&self.epoch, i32::MAX);
        }
    }

    /// Prepares a slot for a thread that is going to be sent the signal.
    pub(super) fn expect(&self, slot: usize, thread: u32) {
        // Relaxed: the signal orders it, which the thread gets later.
        self.slots[slot].state.store(expected(self.epoch()), Ordering::Relaxed);
        self.slots[slot].thread.store(thread, Ordering::Relaxed);
    }

    /// Whether a thread has one of the first `count` slots.
    pub(super) fn is_expected(&self, thread: u32, count: usize) -> bool {
        self.slots[..count].iter().any(|slot| slot.thread.load(Ordering::Relaxed) == thread)
    }

    pub(super) fn thread(&self, slot: usize) -> u32 {
        self.slots[slot].thread.load(Ordering::Relaxed)
    }

    /// Where the context of the thread of that slot lies, if it is there.
    pub(super) fn context(&self, slot: usize) -> Option<usize> {
        // Acquire: what the thread did before it came is seen.
        let context = self.slots[slot].state.load(Ordering::Acquire) ^ expected(self.epoch());
        (context != 0 && context >> EPOCH_SHIFT == 0).then_some(context as usize)
    }

    pub(super) fn arrivals(&self) -> u32 {
        self.arrivals.load(Ordering::Acquire)
    }

    pub(super) fn wait_for_arrival(&self, seen: u32) {
        wait(&self.arrivals, seen, ARRIVAL_MS_MAX);
    }

    /// By a thread that got the signal of a stop: waits until that is over. Does not touch errno.
    pub(super) fn pass(&self, epoch: u32, slot: usize, context: usize) {
        // Acquire: see `close`.
        if self.epoch.load(Ordering::Acquire) != epoch || slot >= SLOTS {
            return;
        }
        let place = &self.slots[slot].state;
        let here = expected(epoch) | context as u64;
        // Release: see `context`. Otherwise the stop was given up, and the slot is of the next.
        if place.compare_exchange(expected(epoch), here, Ordering::Release, Ordering::Relaxed).is_err() {
            return;
        }
        self.arrivals.fetch_add(1, Ordering::Release);
        wake(&self.arrivals, 1);
        while self.epoch.load(Ordering::Acquire) == epoch {
            wait(&self.epoch, epoch, SLEEP_MS_MAX);
        }
    }
}
