//! Who is there, and when all may go on.
//!
//! A gate is closed for one stop after another, each of which has a number. Whoever comes with another number is late and goes on at once. Threads
//! touch nothing of the gate once it was opened, so that it can be closed again at any time.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A waiting thread looks again after so long, whatever it was told.
const SLEEP_MS_MAX: u32 = 100;
/// The same for who waits for arrivals.
const ARRIVAL_MS_MAX: u32 = 1;

/// A thread's place.
#[derive(Debug)]
struct Slot {
    /// Whose it is.
    thread: AtomicU32,
    /// Where its context lies; 0: it is not there.
    context: AtomicUsize,
}

/// See the module head.
#[derive(Debug)]
pub(super) struct Gate<const SLOTS: usize> {
    /// Odd while it is closed.
    epoch: AtomicU32,
    arrivals: AtomicU32,
    slots: [Slot; SLOTS],
}

impl<const SLOTS: usize> Gate<SLOTS> {
    pub(super) const fn new() -> Self {
        Gate {
            epoch: AtomicU32::new(0),
            arrivals: AtomicU32::new(0),
            slots: [const { Slot { thread: AtomicU32::new(0), context: AtomicUsize::new(0) } }; SLOTS],
        }
    }

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
            futex(&self.epoch, libc::FUTEX_WAKE, i32::MAX as u32, 0);
        }
    }

    /// Prepares a slot for a thread that is going to be sent the signal.
    pub(super) fn expect(&self, slot: usize, thread: u32) {
        // Relaxed: the signal orders it, which the thread gets later.
        self.slots[slot].context.store(0, Ordering::Relaxed);
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
        Some(self.slots[slot].context.load(Ordering::Acquire)).filter(|&context| context != 0)
    }

    pub(super) fn arrivals(&self) -> u32 {
        self.arrivals.load(Ordering::Acquire)
    }

    pub(super) fn wait_for_arrival(&self, seen: u32) {
        futex(&self.arrivals, libc::FUTEX_WAIT, seen, ARRIVAL_MS_MAX);
    }

    /// By a thread that got the signal of a stop: waits until that is over. Does not touch errno.
    pub(super) fn pass(&self, epoch: u32, slot: usize, context: usize) {
        // Acquire: see `close`.
        if self.epoch.load(Ordering::Acquire) != epoch || slot >= SLOTS {
            return;
        }
        // Release: see `context`.
        self.slots[slot].context.store(context, Ordering::Release);
        self.arrivals.fetch_add(1, Ordering::Release);
        futex(&self.arrivals, libc::FUTEX_WAKE, 1, 0);
        while self.epoch.load(Ordering::Acquire) == epoch {
            futex(&self.epoch, libc::FUTEX_WAIT, epoch, SLEEP_MS_MAX);
        }
    }
}

/// futex(2) by the bare call: a thread without libc may come here, and its errno is not to be touched.
fn futex(word: &AtomicU32, operation: i32, value: u32, timeout_ms: u32) {
    let timeout = libc::timespec {
        tv_sec: i64::from(timeout_ms / 1000),
        tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
    };
    let timeout: *const libc::timespec = if timeout_ms == 0 { core::ptr::null() } else { &raw const timeout };
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let arguments = [word.as_ptr().addr(), operation as usize, value as usize, timeout.addr(), 0, 0];
    // SAFETY: the word and the time-out live through the call.
    unsafe { super::super::bare::call(libc::SYS_futex, arguments) };
}
