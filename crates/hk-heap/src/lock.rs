//! The one lock of the heap: slices, words and the list of thread heaps.
//!
//! A futex mutex (Drepper, "Futexes are tricky", mutex 3). It is held for bounded work only: never while the
//! system is asked to take pages back. Signals are blocked meanwhile if the process has handlers: one that
//! allocates would wait for the very thread that it interrupted.
//!
//! A fork by a bare system call may copy it held by a thread that the child does not have: see [`crate::fork_mark`].

use crate::fork_mark::ForkMark;
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use hk_os::{Os, SignalMask};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;
/// Tries before a thread sleeps; the lock is held for less than a microsecond mostly.
const SPIN_COUNT: u32 = 100;
/// Sleepers look again after so long, whatever they were told.
const SLEEP_MS_MAX: u32 = 200;
/// While another thread takes the lock over, which is two instructions' work.
const PAUSE_MS: u32 = 1;

/// How a thread found the lock that it has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In order.
    InOrder,
    /// In order, by the first thread that takes it since the process was forked unannounced.
    AfterFork,
    /// By such a thread, held by one that the fork left behind: what it guards may be half changed.
    Abandoned,
}

/// See the module head.
#[derive(Debug)]
pub struct Lock {
    state: AtomicU32,
    /// Where the [`ForkMark`] is; null if there is none (yet).
    mark: AtomicPtr<AtomicU32>,
    /// Thread of the holder, 0 for none: a signal handler must not wait for the thread that it interrupted.
    holder: AtomicUsize,
    /// The holder's signal mask, if it blocked signals.
    mask: Cell<Option<SignalMask>>,
}

// SAFETY: the mask is accessed by the holder only.
unsafe impl Sync for Lock {}

/// Unlocks on drop.
pub struct Guard<'a, O: Os> {
    lock: &'a Lock,
    os: &'a O,
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl Lock {
    /// An unlocked lock.
    pub const fn new() -> Self {
        Lock {
            state: AtomicU32::new(FREE),
            mark: AtomicPtr::new(null_mut()),
            holder: AtomicUsize::new(0),
            mask: Cell::new(None),
        }
    }

    /// Tells where a word is that is zero in a fork child, whoever made it. To be called once, by the holder.
    pub fn watch_forks(&self, word: &'static AtomicU32) {
        ForkMark::new(word).settle();
        // Release: who finds the word finds it settled.
        self.mark.store(core::ptr::from_ref(word).cast_mut(), Ordering::Release);
    }

    /// In a fork child, by the thread that took the lock before the fork.
    pub fn keep_after_fork(&self) {
        if let Some(mark) = self.mark() {
            mark.settle();
        }
    }

    /// Whether nobody has taken it since the process was forked unannounced.
    pub fn is_after_fork(&self) -> bool {
        self.mark().is_some_and(ForkMark::is_wiped)
    }

    fn mark(&self) -> Option<ForkMark<'static>> {
        // SAFETY: null, or from a 'static reference in `watch_forks`.
        unsafe { self.mark.load(Ordering::Acquire).as_ref() }.map(ForkMark::new)
    }

    /// Waits for the lock.
    pub fn lock<'a, O: Os>(&'a self, os: &'a O, block_signals: bool) -> (Guard<'a, O>, Found) {
        let found = self.lock_raw(os, block_signals);
        (Guard { lock: self, os }, found)
    }

    /// Waits for the lock and leaves it held; [`Lock::unlock_raw`] ends that. For fork.
    #[must_use]
    pub fn lock_raw(&self, os: &impl Os, block_signals: bool) -> Found {
        let mask = block_signals.then(|| os.block_signals());
        let mut found = self.try_take(os);
        while found.is_none() {
            found = self.wait(os).or_else(|| self.try_take(os));
        }
        let holder = self.holder.load(Ordering::Relaxed);
        // In a child of libc's fork, where a handler of somebody else's came before ours, which will give the lock and that mask back.
        let mask = if holder == os.thread_token() { self.mask.take().or(mask) } else { mask };
        // Relaxed: compared by the same thread only.
        self.holder.store(os.thread_token(), Ordering::Relaxed);
        self.mask.set(mask);
        found.unwrap_or(Found::InOrder)
    }

    #[inline]
    fn try_take(&self, os: &impl Os) -> Option<Found> {
        if let Some(mark) = self.mark()
            && mark.is_wiped()
            && let Some(found) = self.take_over(os, mark)
        {
            return Some(found);
        }
        // Acquire: see what the last holder did.
        let taken = self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok();
        taken.then_some(Found::InOrder)
    }

    #[cold]
    fn take_over(&self, os: &impl Os, mark: ForkMark<'static>) -> Option<Found> {
        let swap_held = || match self.state.swap(HELD, Ordering::Acquire) {
            FREE => Found::AfterFork,
            _ => Found::Abandoned,
        };
        mark.take_over(swap_held, |word, settling| os.wait(word, settling, PAUSE_MS))
    }

    /// Whether the calling thread holds the lock, that is, whether it is in a signal handler that interrupted
    /// the holder.
    pub fn is_mine(&self, os: &impl Os) -> bool {
        self.state.load(Ordering::Relaxed) != FREE && self.holder.load(Ordering::Relaxed) == os.thread_token()
    }

    #[cold]
    fn wait(&self, os: &impl Os) -> Option<Found> {
        for _ in 0..SPIN_COUNT {
            core::hint::spin_loop();
            if self.state.compare_exchange_weak(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some(Found::InOrder);
            }
        }
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            if self.is_after_fork() {
                // A signal handler forked while this thread slept.
                return None;
            }
            os.wait(&self.state, CONTENDED, SLEEP_MS_MAX);
        }
        Some(Found::InOrder)
    }

    /// Ends [`Lock::lock_raw`].
    pub fn unlock_raw(&self, os: &impl Os) {
        self.holder.store(0, Ordering::Relaxed);
        let mask = self.mask.take();
        // Release: the next holder sees what we did.
        if self.state.swap(FREE, Ordering::Release) == CONTENDED {
            os.wake_one(&self.state);
        }
        if let Some(mask) = mask {
            os.restore_signals(mask);
        }
    }
}

impl<O: Os> Drop for Guard<'_, O> {
    fn drop(&mut self) {
        self.lock.unlock_raw(self.os);
    }
}
