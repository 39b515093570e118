//! Where nothing can be looked through: blocks are released by age. What was freed before the last time that a sweep was due goes, so that a block is
//! reused only after as much was freed as the quarantine holds. A pointer that lives longer than that is not seen.

use super::tools::Swept;
use crate::process::{Host, ProcessHeap};
use crate::scanning::{Failure, Scratch};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use hk_heap::Retained;
use hk_scan::Marks;

/// All blocks but those that were retained when a sweep was due last. Used by one thread at a time: who sweeps.
pub(super) struct Aged {
    others: Cell<Option<Scratch<AtomicU64>>>,
}

// SAFETY: the cell is accessed by who releases by age alone, of whom there is one at a time (`super::Sweeping::is_aging`).
unsafe impl Sync for Aged {}

impl Aged {
    pub(super) const fn new() -> Self {
        Aged { others: Cell::new(None) }
    }
}

impl<H: Host> ProcessHeap<H> {
    pub(super) fn sweep_by_age(&self) -> Result<Swept, Failure> {
        let aged = &self.sweeping.aged;
        let words = Marks::words_needed(self.heap.block_number_limit());
        let young: Scratch<AtomicU64> = Scratch::new(words).ok_or(Failure::NoMemory)?;
        let released = match aged.others.take() {
            Some(others) => self.heap.release_retained(others.slice()),
            None => Retained::default(),
        };
        young.slice().iter().for_each(|word| word.store(!0, Ordering::Relaxed));
        self.heap.note_retained(young.slice());
        aged.others.set(Some(young));
        // What is young is not held by anything that is known.
        Ok(Swept { candidates: released, released, stop_ns: 0, scanned_bytes: 0 })
    }
}
