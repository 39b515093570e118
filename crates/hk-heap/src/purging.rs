//! Runs whose memory is being given back, outside the lock: they are in no span, and not free either.
//!
//! Listed with the threads that do it, so that a fork child can tell those of threads that it does not have, which are free, from those
//! of the thread that forked, in a signal handler that interrupted it: that one goes on when the handler returns.

use crate::slices::Run;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// No more are purged at the same time.
const LISTED_MAX: usize = 16;

/// See the module head. Under the central lock.
#[derive(Debug)]
pub(crate) struct Purging {
    listed: [Place; LISTED_MAX],
}

/// A run in somebody's hand. In two parts, as a fork may catch whoever writes it down at any point: what is in hand is valid whenever
/// there is a thread.
#[derive(Debug)]
struct Place {
    /// Whose: never 0, which is nobody.
    thread: AtomicUsize,
    run: Cell<Run>,
}

impl Place {
    const fn empty() -> Self {
        Place { thread: AtomicUsize::new(0), run: Cell::new(Run { start: 0, count: 0, zero: false }) }
    }

    fn fill(&self, in_hand: InHand) {
        self.run.set(in_hand.run);
        // Release: a fork child that sees the thread sees the run.
        self.thread.store(in_hand.thread, Ordering::Release);
    }

    fn clear(&self) {
        // Relaxed: under the lock; and the run stays what it is until the next one.
        self.thread.store(0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<InHand> {
        let thread = self.thread.load(Ordering::Acquire);
        (thread != 0).then(|| InHand { thread, run: self.run.get() })
    }
}

/// A run that a thread is purging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InHand {
    thread: usize,
    /// The run.
    pub run: Run,
}

impl Purging {
    /// Nothing is being purged.
    pub const fn new() -> Self {
        Purging { listed: [const { Place::empty() }; LISTED_MAX] }
    }

    /// Whether no more may be purged now.
    pub fn is_full(&self) -> bool {
        self.listed.iter().all(|place| place.get().is_some())
    }

    /// `thread` (not 0) took `run` out of the free slices; the list is not full.
    pub fn begin(&self, thread: usize, run: Run) -> InHand {
        assert!(thread != 0, "no thread has the token 0");
        let in_hand = InHand { thread, run };
        let place = self.listed.iter().find(|place| place.get().is_none());
        place.expect("there is room").fill(in_hand);
        in_hand
    }

    /// The thread is through. False if the run was recovered meanwhile, and is not in its hand any more.
    pub fn end(&self, done: InHand) -> bool {
        let place = self.listed.iter().find(|place| place.get() == Some(done));
        place.inspect(|place| place.clear()).is_some()
    }

    /// In a fork child: only `thread` goes on with what it had in hand. The others' runs are given to `recover`.
    pub fn keep_only(&self, thread: usize, mut recover: impl FnMut(Run)) {
        for place in &self.listed {
            if let Some(listed) = place.get().filter(|listed| listed.thread != thread) {
                place.clear();
                recover(listed.run);
            }
        }
    }

    /// Whether a slice is in somebody's hand.
    pub fn holds(&self, slice: usize) -> bool {
        let is_in = |run: Run| (run.start..run.start + run.count).contains(&slice);
        self.listed.iter().any(|place| place.get().is_some_and(|listed| is_in(listed.run)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn run(start: usize) -> Run {
        Run { start, count: 2, zero: false }
    }

    #[test]
    fn what_others_had_in_hand_is_recovered_and_what_the_forking_thread_had_is_not() {
        let purging = Purging::new();
        let (mine, other) = (purging.begin(1, run(10)), purging.begin(2, run(20)));
        assert!(purging.holds(11) && purging.holds(20) && !purging.holds(12));
        let mut recovered = None;
        purging.keep_only(1, |run| recovered = Some(run));
        assert_eq!(recovered, Some(run(20)));
        assert!(purging.holds(11) && !purging.holds(20));
        assert!(purging.end(mine) && !purging.end(other));
        assert!(!purging.holds(11));
    }

    #[test]
    fn a_full_list_says_so() {
        let purging = Purging::new();
        let all: [_; LISTED_MAX] = core::array::from_fn(|n| {
            assert!(!purging.is_full());
            purging.begin(n + 1, run(n * 10))
        });
        assert!(purging.is_full());
        assert!(all.into_iter().all(|one| purging.end(one)));
        assert!((0..LISTED_MAX * 10).all(|slice| !purging.holds(slice)));
    }
}
