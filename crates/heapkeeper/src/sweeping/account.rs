//! What sweeps did, for the report.

use super::tools::Swept;
use core::sync::atomic::{AtomicU64, Ordering};
use hk_format::{Engine, SweepFigures};

/// See [`SweepFigures`]. Relaxed throughout: counts that order nothing.
#[derive(Debug)]
pub(super) struct Account {
    sweeps: AtomicU64,
    dropped: AtomicU64,
    released_blocks: AtomicU64,
    released_bytes: AtomicU64,
    held_blocks: AtomicU64,
    held_bytes: AtomicU64,
    stop_ns_max: AtomicU64,
    stop_ns_total: AtomicU64,
    sweeper_ns: AtomicU64,
    stalls: AtomicU64,
    stall_ns_total: AtomicU64,
}

impl Account {
    pub(super) const fn new() -> Self {
        Account {
            sweeps: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            released_blocks: AtomicU64::new(0),
            released_bytes: AtomicU64::new(0),
            held_blocks: AtomicU64::new(0),
            held_bytes: AtomicU64::new(0),
            stop_ns_max: AtomicU64::new(0),
            stop_ns_total: AtomicU64::new(0),
            sweeper_ns: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            stall_ns_total: AtomicU64::new(0),
        }
    }

    pub(super) fn note(&self, swept: &Swept) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        self.released_blocks.fetch_add(swept.released.blocks, Ordering::Relaxed);
        self.released_bytes.fetch_add(swept.released.bytes, Ordering::Relaxed);
        let held = swept.held();
        self.held_blocks.store(held.blocks, Ordering::Relaxed);
        self.held_bytes.store(held.bytes, Ordering::Relaxed);
        self.stop_ns_max.fetch_max(swept.stop_ns, Ordering::Relaxed);
        self.stop_ns_total.fetch_add(swept.stop_ns, Ordering::Relaxed);
    }

    pub(super) fn note_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_sweeper(&self, ns: u64) {
        self.sweeper_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(super) fn note_stall(&self, ns: u64) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
        self.stall_ns_total.fetch_add(ns, Ordering::Relaxed);
    }

    pub(super) fn figures(&self, engine: Engine) -> SweepFigures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SweepFigures {
            sweeps: read(&self.sweeps),
            dropped: read(&self.dropped),
            released_blocks: read(&self.released_blocks),
            released_bytes: read(&self.released_bytes),
            held_blocks: read(&self.held_blocks),
            held_bytes: read(&self.held_bytes),
            stop_ns_max: read(&self.stop_ns_max),
            stop_ns_total: read(&self.stop_ns_total),
            sweeper_ns: read(&self.sweeper_ns),
            stalls: read(&self.stalls),
            stall_ns_total: read(&self.stall_ns_total),
            engine: engine as u64,
        }
    }
}
