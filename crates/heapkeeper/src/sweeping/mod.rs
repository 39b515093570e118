//! Sweeps: freed blocks that are in quarantine are released when nothing points to them.
//!
//! - [`pacing`]: when. [`sweep`]: how. [`account`]: what came of it.
//!
//! A sweep is the work of a thread of our own that lives as long as it takes ([`hk_os::Worker`]), so that there is none where nothing is to be
//! swept. One that can't be finished is dropped, which costs memory only.

mod account;
mod pacing;
mod sweep;

use crate::process::{Host, ProcessHeap};
use account::Account;
use core::sync::atomic::{AtomicBool, Ordering};
use hk_format::Settings;
use hk_heap::Reuse;
use hk_os::Worker;
use pacing::Pacing;

/// A thread that frees waits so long at most for a sweep, when there is more in quarantine than may be.
const STALL_MS_MAX: u32 = 50;

/// See the module head. A part of a process's heap.
pub(crate) struct Sweeping {
    pub(crate) worker: Worker,
    is_on: AtomicBool,
    pub(crate) pacing: Pacing,
    account: Account,
}

impl Sweeping {
    pub(crate) const fn new() -> Self {
        Sweeping {
            worker: Worker::new(),
            is_on: AtomicBool::new(false),
            pacing: Pacing::new(),
            account: Account::new(),
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
            sweeping.account.note_stall(hk_os::monotonic_ns() - begin_ns);
        }
    }

    /// Writes down what sweeps did so far.
    pub(crate) fn record_sweeps(&self) {
        if self.sweeping.is_on() {
            self.recording.set_sweeps(&self.sweeping.account.figures());
        }
    }

    fn sweep_and_account(&'static self) {
        let account = &self.sweeping.account;
        let begin_ns = hk_os::thread_cpu_ns();
        match self.sweep() {
            Ok(swept) => {
                account.note(&swept);
                self.heap.set_quarantine_limit(self.sweeping.pacing.limit_bytes(swept.scanned_bytes));
            }
            Err(_) => {
                account.note_dropped();
                self.heap.set_quarantine_limit(self.sweeping.pacing.after_drop());
            }
        }
        account.note_sweeper(hk_os::thread_cpu_ns() - begin_ns);
        self.record_sweeps();
    }
}
