//! What spans gave up last rests for a while before it is free: oldest first, in a ring.
//!
//! An address is then not handed out again at once, so a stale second free still finds no block there. Resting memory is resident
//! memory, so its share of what is used is bounded.

use crate::slices::Run;
use core::cell::Cell;

const RUNS_MAX: usize = 16;
/// No more than a 16th of what is used rests, but always so many slices (256 KiB).
const SLICES_MIN: usize = 4;
const SHARE: usize = 16;
/// The run that was freed last rests whatever its share, up to this size (4 MiB).
const LAST_SLICES_MAX: usize = 64;

/// See the module head. Under the central lock.
#[derive(Debug)]
pub(crate) struct Resting {
    runs: [Cell<Run>; RUNS_MAX],
    first: Cell<usize>,
    len: Cell<usize>,
    slices: Cell<usize>,
}

impl Resting {
    /// Nothing rests.
    pub const fn new() -> Self {
        Resting {
            runs: [const { Cell::new(Run { start: 0, count: 0, zero: false }) }; RUNS_MAX],
            first: Cell::new(0),
            len: Cell::new(0),
            slices: Cell::new(0),
        }
    }

    /// Whether a run of `count` slices may rest.
    pub fn takes(count: usize) -> bool {
        count <= LAST_SLICES_MAX
    }

    /// Whether the oldest has to end its rest before another begins.
    pub fn is_full(&self) -> bool {
        self.len.get() == RUNS_MAX
    }

    /// Whether the oldest has to end its rest while `used` slices are used.
    pub fn is_too_much(&self, used: usize) -> bool {
        self.slices.get() > (used / SHARE).max(SLICES_MIN) && self.len.get() > 1
    }

    /// How many slices rest.
    pub fn slice_count(&self) -> usize {
        self.slices.get()
    }

    /// A run begins its rest; the ring is not full.
    pub fn push(&self, run: Run) {
        assert!(!self.is_full());
        self.runs[(self.first.get() + self.len.get()) % RUNS_MAX].set(run);
        self.len.set(self.len.get() + 1);
        self.slices.set(self.slices.get() + run.count);
    }

    /// The oldest ends its rest.
    pub fn pop(&self) -> Option<Run> {
        let rest = self.len.get().checked_sub(1)?;
        let run = self.runs[self.first.get()].get();
        self.turn();
        self.len.set(rest);
        self.slices.set(self.slices.get() - run.count);
        Some(run)
    }

    /// The first half of [`Resting::pop`].
    pub fn turn(&self) {
        self.first.set((self.first.get() + 1) % RUNS_MAX);
    }

    /// Nothing rests any more, without being given back.
    pub fn forget(&self) {
        self.first.set(0);
        self.len.set(0);
        self.slices.set(0);
    }

    /// Whether a slice rests.
    pub fn holds(&self, slice: usize) -> bool {
        self.runs().any(|run| (run.start..run.start + run.count).contains(&slice))
    }

    /// Checks the count.
    pub fn verify(&self) {
        let slices: usize = self.runs().map(|run| run.count).sum();
        assert_eq!(slices, self.slices.get(), "resting slices");
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        (0..self.len.get()).map(|nth| self.runs[(self.first.get() + nth) % RUNS_MAX].get())
    }
}
