//! How long a queued span has been half free, and what was last done about it: see [`crate::idle_pages`].

use core::sync::atomic::{AtomicU32, Ordering};

/// Ticks from the look that found it half free to the one that acts.
const TICKS_MIN: u32 = 2;
/// No such tick, and no such number of blocks.
const NEVER: u32 = u32::MAX;

/// In a span's header. Only the owner touches it, so all is Relaxed.
#[derive(Debug)]
pub(crate) struct Idle {
    /// The tick in which it was looked at last.
    looked: AtomicU32,
    /// The tick in which it was found half free.
    since: AtomicU32,
    /// Blocks that were in use when its pages were given back.
    used: AtomicU32,
}

impl Idle {
    /// The span is queued.
    pub(crate) fn reset(&self, tick: u32) {
        self.looked.store(tick, Ordering::Relaxed);
        self.since.store(NEVER, Ordering::Relaxed);
        self.used.store(NEVER, Ordering::Relaxed);
    }

    /// Whether it was not yet looked at in this tick.
    pub(crate) fn is_due(&self, tick: u32) -> bool {
        self.looked.load(Ordering::Relaxed) != tick
    }

    /// It is looked at in this tick, and found half free or not. Whether it has been for long enough.
    pub(crate) fn note_look(&self, tick: u32, is_half_free: bool) -> bool {
        self.looked.store(tick, Ordering::Relaxed);
        let since = self.since.load(Ordering::Relaxed);
        if !is_half_free {
            self.since.store(NEVER, Ordering::Relaxed);
        } else if since == NEVER {
            self.since.store(tick, Ordering::Relaxed);
        }
        is_half_free && since != NEVER && tick.wrapping_sub(since) >= TICKS_MIN
    }

    /// Whether `more` blocks became free since its pages were given back.
    pub(crate) fn has_more_free(&self, used: u32, more: u32) -> bool {
        used.saturating_add(more) <= self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn note_purge(&self, used: u32) {
        self.used.store(used, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_to_be_half_free_for_two_ticks() {
        let idle = Idle { looked: AtomicU32::new(0), since: AtomicU32::new(0), used: AtomicU32::new(0) };
        idle.reset(7);
        assert!(!idle.is_due(7) && idle.is_due(8));
        assert!(!idle.note_look(30, true), "it may have become so just now");
        assert!(!idle.note_look(31, true));
        assert!(idle.note_look(32, true));
        assert!(!idle.note_look(33, false));
        assert!(!idle.note_look(34, true) && idle.note_look(36, true));
    }
}
