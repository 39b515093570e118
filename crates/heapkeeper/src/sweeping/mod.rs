//! Sweeps: freed blocks that are in quarantine are released when nothing points to them.
//!
//! - [`pacing`]: when. [`sweep`]: how.
//!
//! A sweep is the work of a thread of our own that lives as long as it takes ([`hk_os::Worker`]), so that there is none where nothing is to be
//! swept. One that can't be finished is dropped, which costs memory only.

mod pacing;
mod sweep;

use crate::process::{Host, ProcessHeap};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use hk_format::Settings;
use hk_heap::Reuse;
use hk_os::Worker;
use pacing::Pacing;

/// A thread that frees waits so long at most for a sweep, when there is more in quarantine than may be.
const STALL_MS_MAX: u32 = 50;

/// What sweeps did so far. Relaxed throughout: counts for a report.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) sweeps: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) released_blocks: AtomicU64,
    pub(crate) released_bytes: AtomicU64,
    /// Blocks that were freed, and to which something pointed at the last sweep.
    pub(crate) held_blocks: AtomicU64,
    pub(crate) held_bytes: AtomicU64,
    pub(crate) stop_ns_max: AtomicU64,
    pub(crate) stop_ns_total: AtomicU64,
    pub(crate) sweeper_ns: AtomicU64,
    /// Waits of threads that freed.
    pub(crate) stalls: AtomicU64,
    pub(crate) stall_ns_total: AtomicU64,
}

/// See the module head. A part of a process's heap.
pub(crate) struct Sweeping {
    pub(crate) worker: Worker,
    is_on: AtomicBool,
    pub(crate) pacing: Pacing,
    pub(crate) account: Account,
}

impl Sweeping {
    pub(crate) const fn new() -> Self {
        Sweeping {
            worker: Worker::new(),
            is_on: AtomicBool::new(false),
            pacing: Pacing::new(),
            account: Account {
                sweeps: AtomicU32::new(0),
                dropped: AtomicU32::new(0),
                released_blocks: AtomicU64::new(0),
                released_bytes: AtomicU64::new(0),
                held_blocks: AtomicU64::new(0),
                held_bytes: AtomicU64::new(0),
                stop_ns_max: AtomicU64::new(0),
                stop_ns_total: AtomicU64::new(0),
                sweeper_ns: AtomicU64::new(0),
                stalls: AtomicU64::new(0),
                stall_ns_total: AtomicU64::new(0),
            },
        }
    }

    /// Whether free is a request.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: said while there is one thread.
        self.is_on.load(Ordering::Relaxed)
    }
}

extern "C" fn work<H: Host>() {
    H::process().sweep_and_account();
}

impl<H: Host> ProcessHeap<H> {
    /// Takes over whether blocks are to be swept, and what limits there are.
    pub(crate) fn apply_quarantine(&self, settings: &Settings) {
        self.sweeping.pacing.apply(settings);
        self.heap.set_quarantine_zeroes(settings.zero);
        self.heap.set_quarantine_limit(self.sweeping.pacing.limit_bytes(0));
        self.sweeping.is_on.store(self.heap.reuse() == Reuse::Swept, Ordering::Relaxed);
    }

    /// It is time for a sweep, and no lock is held.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask_for_sweep(&'static self) {
        if !self.heap.is_own() || self.heap.is_reentered() {
            return;
        }
        let sweeping = &self.sweeping;
        sweeping.worker.start(work::<H>);
        if self.heap.retained_since_sweep() > sweeping.pacing.stall_bytes() && sweeping.worker.is_there() {
            let begin_ns = hk_os::monotonic_ns();
            sweeping.worker.wait_for_end(STALL_MS_MAX);
            sweeping.account.stalls.fetch_add(1, Ordering::Relaxed);
            let ns = hk_os::monotonic_ns() - begin_ns;
            sweeping.account.stall_ns_total.fetch_add(ns, Ordering::Relaxed);
        }
    }

    fn sweep_and_account(&'static self) {
        let account = &self.sweeping.account;
        let begin_ns = hk_os::thread_cpu_ns();
        match self.sweep() {
            Ok(swept) => {
                account.sweeps.fetch_add(1, Ordering::Relaxed);
                account.released_blocks.fetch_add(swept.released.blocks, Ordering::Relaxed);
                account.released_bytes.fetch_add(swept.released.bytes, Ordering::Relaxed);
                let (blocks, bytes) = swept.held();
                account.held_blocks.store(blocks, Ordering::Relaxed);
                account.held_bytes.store(bytes, Ordering::Relaxed);
                account.stop_ns_max.fetch_max(swept.stop_ns, Ordering::Relaxed);
                account.stop_ns_total.fetch_add(swept.stop_ns, Ordering::Relaxed);
                let in_use = self.heap.figures().live_bytes.load(Ordering::Relaxed) as usize;
                self.heap.set_quarantine_limit(
                    self.sweeping.pacing.limit_bytes(in_use.saturating_sub(bytes as usize)),
                );
            }
            Err(_) => {
                account.dropped.fetch_add(1, Ordering::Relaxed);
                self.heap.set_quarantine_limit(self.sweeping.pacing.after_drop());
            }
        }
        account.sweeper_ns.fetch_add(hk_os::thread_cpu_ns() - begin_ns, Ordering::Relaxed);
    }
}
