//! Memory that is ours beside the reservation: it holds no pointers of the program's.

use core::sync::atomic::{AtomicUsize, Ordering};

/// A process has some ten.
const PARTS_MAX: usize = 64;

/// Start and bytes of each.
static PARTS: [(AtomicUsize, AtomicUsize); PARTS_MAX] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; PARTS_MAX];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Notes that a mapping is ours, for good. What does not fit is taken for the program's, which costs a scan some time.
pub fn note_own_memory(start: usize, bytes: usize) {
    // Relaxed: a scan that misses a new part reads it, no more.
    if let Some((place, len)) = PARTS.get(COUNT.fetch_add(1, Ordering::Relaxed)) {
        len.store(bytes, Ordering::Relaxed);
        // Release: who sees where it begins sees how long it is.
        place.store(start, Ordering::Release);
    }
}

/// All of them: start and bytes.
pub fn own_memory() -> impl Iterator<Item = (usize, usize)> {
    let parts = PARTS.iter().map(|(place, len)| (place.load(Ordering::Acquire), len.load(Ordering::Relaxed)));
    parts.filter(|&(start, _)| start != 0)
}
