//! Sweeps: freed blocks that are in quarantine are released when nothing points to them.
//!
//! - [`pacing`]: when. [`account`]: what came of it.
//! - [`stopped`], [`tracked`]: how, while the program stands still or runs. [`tools`]: what both work with.
//!
//! A sweep is the work of a thread of our own that lives as long as it takes ([`hk_os::Worker`]), so that there is none where nothing is to be
//! swept. One that can't be finished is dropped, which costs memory only.

mod account;
mod pacing;
mod stopped;
mod tools;
mod tracked;

use crate::process::{Host, ProcessHeap};
use crate::scanning::Failure;
use account::Account;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use hk_format::{Engine, Settings};
use hk_heap::Reuse;
use hk_os::Worker;
use pacing::Pacing;
use tools::{Swept, Tools};
use tracked::OpenTracker;

/// A sweep of no more memory is made while the program stands still: that takes no longer than the stops of the other kind.
const STOPPED_BYTES_MAX: usize = 8 << 20;
/// A thread that frees waits so long at most for a sweep, when there is more in quarantine than may be.
const STALL_MS_MAX: u32 = 50;

/// See the module head. A part of a process's heap.
pub(crate) struct Sweeping {
    worker: Worker,
    is_on: AtomicBool,
    engine: AtomicU8,
    open_tracker: OpenTracker,
    pub(crate) pacing: Pacing,
    /// In which the last sweep looked for pointers.
    scanned_bytes: AtomicUsize,
    account: Account,
}

impl Sweeping {
    pub(crate) const fn new() -> Self {
        Sweeping {
            worker: Worker::new(),
            is_on: AtomicBool::new(false),
            engine: AtomicU8::new(Engine::Auto as u8),
            open_tracker: OpenTracker::new(),
            pacing: Pacing::new(),
            scanned_bytes: AtomicUsize::new(0),
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
        self.sweeping.engine.store(settings.engine as u8, Ordering::Relaxed);
        self.heap.set_quarantine_zeroes(settings.zero);
        self.heap.set_quarantine_limit(self.sweeping.pacing.limit_bytes(0));
        self.sweeping.is_on.store(self.heap.reuse() == Reuse::Swept, Ordering::Relaxed);
    }

    /// It is time for a sweep, and no lock is held.
    #[cold]
    #[inline(never)]
    pub(crate) fn ask_for_sweep(&'static self) {
        self.heap.notice_fork();
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
                self.sweeping.scanned_bytes.store(swept.scanned_bytes, Ordering::Relaxed);
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

    fn sweep(&'static self) -> Result<Swept, Failure> {
        let sweeping = &self.sweeping;
        let mut tools = Tools::new(self).ok_or(Failure::NoMemory)?;
        let is_large = sweeping.scanned_bytes.load(Ordering::Relaxed) > STOPPED_BYTES_MAX;
        match Engine::from_u32(u32::from(sweeping.engine.load(Ordering::Relaxed))) {
            Some(Engine::Tracked) => self.sweep_tracked(&mut tools, false),
            Some(Engine::Blind) => self.sweep_tracked(&mut tools, true),
            Some(Engine::Auto) | None if is_large => match self.sweep_tracked(&mut tools, false) {
                Err(Failure::NoTracking) => {
                    sweeping.engine.store(Engine::Stopped as u8, Ordering::Relaxed);
                    self.sweep_stopped(&mut tools)
                }
                swept => swept,
            },
            _ => self.sweep_stopped(&mut tools),
        }
    }

    /// In a fork child, where no sweep goes on.
    pub(crate) fn forget_sweep(&self) {
        self.sweeping.worker.forget();
        self.sweeping.open_tracker.close_inherited();
    }
}
