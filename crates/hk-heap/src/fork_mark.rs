//! Whether the heap's lock was looked after since this process was forked.
//!
//! A fork by a bare system call runs none of the handlers that libc's fork runs: if another thread held the lock, the child has it held
//! for ever. The mark is a word on a page that the kernel wipes in fork children (MADV_WIPEONFORK), so a thread that finds it wiped
//! knows: nobody in this process has had the lock yet, and whoever seems to hold it is not here. The first such thread takes the lock,
//! held or not; others wait until it has. Comparing process ids in its stead was tried: in a vfork child, which runs in its
//! parent's memory, that breaks a lock whose holder lives. There the mark is the parent's, too.

use crate::sync::{AtomicU32, Ordering};

/// What the kernel leaves in a fork child.
const WIPED: u32 = 0;
/// The lock is in order.
const SETTLED: u32 = 1;
/// A thread of a fork child is taking the lock.
const SETTLING: u32 = 2;

/// See the module head. A view of a word that is somewhere else.
#[derive(Clone, Copy, Debug)]
pub struct ForkMark<'a>(&'a AtomicU32);

impl<'a> ForkMark<'a> {
    /// The mark in `word`.
    pub fn new(word: &'a AtomicU32) -> Self {
        ForkMark(word)
    }

    /// Whether this is a fork child where nobody has had the lock yet.
    #[inline]
    pub fn is_wiped(self) -> bool {
        // Acquire: who finds it settled sees the lock as `take_over` left it.
        self.0.load(Ordering::Acquire) != SETTLED
    }

    /// To be called at the start, and in a fork child by the thread that holds the lock.
    pub fn settle(self) {
        // Release: see `is_wiped`.
        self.0.store(SETTLED, Ordering::Release);
    }

    /// In a fork child where nobody has had the lock yet: makes the calling thread its holder, in whatever state it was; `swap_held`
    /// swaps "held" into that. None if another thread is or was faster, once that has the lock; else what `swap_held` gave.
    pub fn take_over<T>(
        self,
        swap_held: impl FnOnce() -> T,
        mut pause: impl FnMut(&'a AtomicU32, u32),
    ) -> Option<T> {
        // Relaxed: it only elects; what the elected does is published by `settle`.
        if self.0.compare_exchange(WIPED, SETTLING, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let before = swap_held();
            self.settle();
            return Some(before);
        }
        while self.is_wiped() {
            pause(self.0, SETTLING);
        }
        None
    }
}
