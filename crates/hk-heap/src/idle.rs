//! How long a queued span has been idle, and what was last done about it: see [`crate::idle_pages`].

use core::sync::atomic::{AtomicU32, Ordering};

/// Ticks that a span has to lie in its queue: with this many it was there at a whole one.
const TICKS_MIN: u32 = 2;
/// No purge since the span was queued.
const NEVER: u32 = u32::MAX;

/// In a span's header. Only the owner touches it, so all is Relaxed.
#[derive(Debug)]
pub(crate) struct Idle {
    /// The tick at which the span was queued.
    queued: AtomicU32,
    /// The tick at which it was looked at last.
    looked: AtomicU32,
    /// Blocks that were in use when its pages were given back.
    used: AtomicU32,
}

impl Idle {
    /// The span is queued.
    pub(crate) fn reset(&self, tick: u32) {
        self.queued.store(tick, Ordering::Relaxed);
        self.looked.store(tick, Ordering::Relaxed);
        self.used.store(NEVER, Ordering::Relaxed);
    }

    /// Whether it was not yet looked at in this tick.
    pub(crate) fn is_due(&self, tick: u32) -> bool {
        self.looked.load(Ordering::Relaxed) != tick
    }

    pub(crate) fn note_look(&self, tick: u32) {
        self.looked.store(tick, Ordering::Relaxed);
    }

    /// Whether it has been idle for long enough, and a `share` of blocks became free since its pages were given back.
    pub(crate) fn is_worth_it(&self, tick: u32, used: u32, share: u32) -> bool {
        let is_idle = tick.wrapping_sub(self.queued.load(Ordering::Relaxed)) >= TICKS_MIN;
        is_idle && self.has_more_free(used, share)
    }

    /// Whether `more` blocks became free since its pages were given back.
    pub(crate) fn has_more_free(&self, used: u32, more: u32) -> bool {
        used.saturating_add(more) <= self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn note_purge(&self, used: u32) {
        self.used.store(used, Ordering::Relaxed);
    }
}
