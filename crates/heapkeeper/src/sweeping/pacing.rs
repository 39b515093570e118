//! When a sweep is due: when so much was freed since the last one that it pays to look through what is live.

use core::sync::atomic::{AtomicUsize, Ordering};
use hk_format::Settings;

/// After a sweep that was dropped the next one is put off, up to so many times the limit.
const PUT_OFF_MAX: usize = 16;

/// Relaxed throughout: choices and estimates.
#[derive(Debug)]
pub(crate) struct Pacing {
    floor_bytes: AtomicUsize,
    percent: AtomicUsize,
    limit_bytes: AtomicUsize,
    put_off: AtomicUsize,
}

impl Pacing {
    pub(crate) const fn new() -> Self {
        Pacing {
            floor_bytes: AtomicUsize::new(usize::MAX),
            percent: AtomicUsize::new(0),
            limit_bytes: AtomicUsize::new(usize::MAX),
            put_off: AtomicUsize::new(1),
        }
    }

    pub(crate) fn apply(&self, settings: &Settings) {
        let floor = (settings.quarantine_mib as usize) << 20;
        self.floor_bytes.store(floor.max(1 << 20), Ordering::Relaxed);
        self.percent.store(settings.quarantine_percent as usize, Ordering::Relaxed);
    }

    /// With so many bytes freed the next sweep is due, if the last one looked at so many.
    pub(crate) fn limit_bytes(&self, scanned_bytes: usize) -> usize {
        self.put_off.store(1, Ordering::Relaxed);
        let share = scanned_bytes / 100 * self.percent.load(Ordering::Relaxed);
        let limit = share.saturating_add(self.floor_bytes.load(Ordering::Relaxed));
        self.limit_bytes.store(limit, Ordering::Relaxed);
        limit
    }

    /// The same after one that was dropped.
    pub(crate) fn after_drop(&self) -> usize {
        let put_off = (self.put_off.load(Ordering::Relaxed) * 2).min(PUT_OFF_MAX);
        self.put_off.store(put_off, Ordering::Relaxed);
        self.limit_bytes.load(Ordering::Relaxed).saturating_mul(put_off)
    }

    /// With so many bytes freed while a sweep is under way threads that free have to wait for it.
    pub(crate) fn stall_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }
}
