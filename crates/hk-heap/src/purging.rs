//! Runs whose memory is being given back, outside the lock: they are in no span, and not free either.
//!
//! Listed with the threads that do it, so that a fork child can tell those of threads that it does not have, which are free, from those
//! of the thread that forked, in a signal handler that interrupted it: that one goes on when the handler returns.

use crate::slices::Run;
use core::cell::Cell;

/// As many are listed at the same time; of more the first are listed no longer, which matters only if such a fork comes.
const LISTED_MAX: usize = 8;

/// See the module head. Under the central lock.
#[derive(Debug)]
pub(crate) struct Purging {
    listed: [Cell<Option<Listed>>; LISTED_MAX],
    next: Cell<usize>,
    /// How often slices were recovered.
    recoveries: Cell<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    thread: usize,
    run: Run,
}

/// A run that is being purged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHand {
    /// The run.
    pub run: Run,
    thread: usize,
    recoveries: u32,
}

impl Purging {
    /// Nothing is being purged.
    pub const fn new() -> Self {
        Purging {
            listed: [const { Cell::new(None) }; LISTED_MAX],
            next: Cell::new(0),
            recoveries: Cell::new(0),
        }
    }

    /// `thread` took `run` out of the free slices.
    pub fn begin(&self, thread: usize, run: Run) -> InHand {
        let free = self.listed.iter().position(|place| place.get().is_none());
        let place = free.unwrap_or_else(|| self.next.replace((self.next.get() + 1) % LISTED_MAX));
        self.listed[place].set(Some(Listed { thread, run }));
        InHand { run, thread, recoveries: self.recoveries.get() }
    }

    /// The thread is through. False if the run was recovered meanwhile, and is not in its hand any more.
    pub fn end(&self, done: InHand) -> bool {
        let wanted = Some(Listed { thread: done.thread, run: done.run });
        let place = self.listed.iter().find(|place| place.get() == wanted);
        place.inspect(|place| place.set(None)).is_some() || self.recoveries.get() == done.recoveries
    }

    /// In a fork child, before slices are recovered: only `thread` goes on with what it had in hand.
    pub fn keep_only(&self, thread: usize) {
        self.recoveries.set(self.recoveries.get() + 1);
        let others =
            |place: &&Cell<Option<Listed>>| place.get().is_some_and(|listed| listed.thread != thread);
        self.listed.iter().filter(others).for_each(|place| place.set(None));
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
        purging.keep_only(1);
        assert!(purging.holds(11) && !purging.holds(20));
        assert!(purging.end(mine) && !purging.end(other));
        assert!(!purging.holds(11));
    }

    #[test]
    fn more_than_can_be_listed_end_as_usual() {
        let purging = Purging::new();
        let all: [_; 2 * LISTED_MAX] = core::array::from_fn(|n| purging.begin(n, run(n * 10)));
        assert!(all.into_iter().all(|one| purging.end(one)));
        assert!((0..LISTED_MAX * 20).all(|slice| !purging.holds(slice)));
    }
}
