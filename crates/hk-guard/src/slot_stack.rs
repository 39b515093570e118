//! Freed slots on their way to whoever takes them all.
//!
//! They are pushed singly, without a lock, as a signal handler may free whatever it interrupted; they are taken all at once, so that a slot
//! cannot come back between a push's look at the head and its exchange, with another link (the ABA problem of Treiber's stack, IBM RJ 5118).

use crate::slot::{Slot, SlotId};
use crate::sync::{AtomicU32, Ordering};

/// See the module head.
#[derive(Debug)]
pub(crate) struct SlotStack {
    /// The last that was pushed, as its number; the others follow by their links. 0: none.
    head: AtomicU32,
}

impl SlotStack {
    #[cfg(not(hk_loom))]
    pub(crate) const fn new() -> Self {
        SlotStack { head: AtomicU32::new(0) }
    }

    #[cfg(hk_loom)]
    pub(crate) fn new() -> Self {
        SlotStack { head: AtomicU32::new(0) }
    }

    /// Whoever pushes has the slot: its block was freed by him.
    pub(crate) fn push(&self, id: SlotId, slot: &Slot) {
        // Relaxed: nothing is read through it here.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            slot.next.store(head, Ordering::Relaxed);
            // Release: who takes the stack sees the link, and all that was done to the slot. A later push is a read-modify-write, so that
            // it hands on what an earlier one released.
            match self.head.compare_exchange_weak(head, id.0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }

    /// Takes all: the number of the one that was pushed last, or 0; the others follow by their links.
    pub(crate) fn take_all(&self) -> u32 {
        // Acquire: see `push`.
        self.head.swap(0, Ordering::Acquire)
    }
}
