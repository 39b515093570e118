//! When a sweep is due: when so much was freed since the last one that it pays to look through what is live.
//!
//! A sweep costs what there is to look at, and saves what was freed. So the limit follows the first: the more there is to look at, the more waits. It
//! grows further while sweeps take more of the processor's time than they may, and shrinks where memory gets short.

use core::sync::atomic::{AtomicUsize, Ordering};
use hk_format::Settings;

/// After a sweep that was dropped the next one is put off, up to so many times the limit.
const PUT_OFF_MAX: usize = 16;
/// For the sake of the processor's time the limit grows to so many quarters of what it is.
const QUARTERS_MAX: usize = 8;
const QUARTERS: usize = 4;
/// Of the memory that is left the quarantine may have a part of so many,
const MEMORY_SHARE: usize = 4;
/// but this much at least.
const BYTES_MIN: usize = 1 << 20;

/// Relaxed throughout: choices and estimates.
#[derive(Debug)]
pub(crate) struct Pacing {
    floor_bytes: AtomicUsize,
    percent: AtomicUsize,
    /// Of the process's time on processors sweeps may take so many percent, as far as memory allows.
    cpu_percent: AtomicUsize,
    quarters: AtomicUsize,
    limit_bytes: AtomicUsize,
    put_off: AtomicUsize,
}

/// What the last sweep took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Memory that it looked at.
    pub(super) scanned_bytes: usize,
    /// Its time on a processor.
    pub(super) sweep_ns: u64,
    /// The whole process's since the one before.
    pub(super) process_ns: u64,
    /// Memory that the process may still have.
    pub(super) left_bytes: usize,
}

impl Pacing {
    pub(crate) const fn new() -> Self {
        Pacing {
            floor_bytes: AtomicUsize::new(usize::MAX),
            percent: AtomicUsize::new(0),
            cpu_percent: AtomicUsize::new(0),
            quarters: AtomicUsize::new(QUARTERS),
            limit_bytes: AtomicUsize::new(usize::MAX),
            put_off: AtomicUsize::new(1),
        }
    }

    /// Takes over the choices; gives the limit before the first sweep.
    pub(super) fn apply(&self, settings: &Settings, left_bytes: usize) -> usize {
        let floor = (settings.quarantine_mib as usize) << 20;
        self.floor_bytes.store(floor, Ordering::Relaxed);
        self.percent.store(settings.quarantine_percent as usize, Ordering::Relaxed);
        self.cpu_percent.store(settings.sweep_cpu_percent as usize, Ordering::Relaxed);
        self.set_limit(0, left_bytes)
    }

    /// With so many bytes freed the next sweep is due.
    pub(super) fn limit_after(&self, cost: Cost) -> usize {
        self.put_off.store(1, Ordering::Relaxed);
        let may = cost.process_ns / 100 * self.cpu_percent.load(Ordering::Relaxed) as u64;
        let quarters = self.quarters.load(Ordering::Relaxed);
        let quarters = match () {
            () if cost.sweep_ns > may => (quarters + 1).min(QUARTERS_MAX),
            () if cost.sweep_ns < may / 2 => (quarters - 1).max(QUARTERS),
            () => quarters,
        };
        self.quarters.store(quarters, Ordering::Relaxed);
        self.set_limit(cost.scanned_bytes, cost.left_bytes)
    }

    fn set_limit(&self, scanned_bytes: usize, left_bytes: usize) -> usize {
        let share = scanned_bytes / 100 * self.percent.load(Ordering::Relaxed);
        let wanted = share.saturating_add(self.floor_bytes.load(Ordering::Relaxed));
        let wanted = wanted / QUARTERS * self.quarters.load(Ordering::Relaxed);
        let limit = wanted.min(left_bytes / MEMORY_SHARE).max(BYTES_MIN);
        self.limit_bytes.store(limit, Ordering::Relaxed);
        limit
    }

    /// The limit after a sweep that was dropped.
    pub(super) fn after_drop(&self) -> usize {
        let put_off = (self.put_off.load(Ordering::Relaxed) * 2).min(PUT_OFF_MAX);
        self.put_off.store(put_off, Ordering::Relaxed);
        self.limit_bytes.load(Ordering::Relaxed).saturating_mul(put_off)
    }

    /// With so many bytes freed while a sweep is under way threads that free have to wait for it.
    pub(super) fn stall_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn pacing() -> Pacing {
        let pacing = Pacing::new();
        let settings = Settings { quarantine_mib: 8, quarantine_percent: 10, ..Settings::DEFAULT };
        assert_eq!(pacing.apply(&settings, 1 << 40), 8 * MIB);
        pacing
    }

    fn cost(scanned_mib: usize, sweep_percent: u64, left_mib: usize) -> Cost {
        Cost {
            scanned_bytes: scanned_mib * MIB,
            sweep_ns: sweep_percent * 1_000_000,
            process_ns: 100_000_000,
            left_bytes: left_mib * MIB,
        }
    }

    #[test]
    fn the_limit_follows_what_there_is_to_look_at() {
        let pacing = pacing();
        assert!(pacing.limit_after(cost(1000, 1, 1 << 20)).abs_diff(108 * MIB) < MIB);
        assert!(pacing.limit_after(cost(10, 1, 1 << 20)).abs_diff(9 * MIB) < MIB);
    }

    #[test]
    fn sweeps_that_take_too_much_become_fewer_and_more_again() {
        let pacing = pacing();
        let limits = [0; 20].map(|_| pacing.limit_after(cost(0, 90, 1 << 20)));
        assert!(limits.is_sorted() && limits[19] == 8 * MIB / QUARTERS * QUARTERS_MAX, "{limits:?}");
        let limits = [0; 20].map(|_| pacing.limit_after(cost(0, 0, 1 << 20)));
        assert_eq!(limits[19], 8 * MIB);
    }

    #[test]
    fn it_gives_way_where_memory_is_short() {
        let pacing = pacing();
        assert_eq!(pacing.limit_after(cost(1000, 90, 40)), 10 * MIB);
        assert_eq!(pacing.limit_after(cost(1000, 90, 0)), BYTES_MIN);
        assert!(pacing.limit_after(cost(1000, 1, 1 << 20)) > 100 * MIB);
    }

    #[test]
    fn a_sweep_that_was_dropped_puts_the_next_off() {
        let pacing = pacing();
        let limits = [0; 6].map(|_| pacing.after_drop() / MIB);
        assert_eq!(limits, [16, 32, 64, 128, 128, 128]);
        assert_eq!(pacing.limit_after(cost(0, 1, 1 << 20)), 8 * MIB);
    }
}
