//! Sweeps: freed blocks that are in quarantine are released when nothing points to them.
//!
//! - [`pacing`]: when. [`account`]: what came of it.
//! - [`stopped`], [`tracked`]: how, while the program stands still or runs. [`tools`]: what both work with. [`by_age`]: where neither can be done.
//!
//! A sweep is the work of a thread of our own that lives as long as it takes ([`hk_os::Worker`]), so that there is none where nothing is to be
//! swept. One that can't be finished is dropped, which costs memory only.

mod account;
mod by_age;
mod pacing;
mod stopped;
mod tools;
mod tracked;

use crate::environment::with_recorder_path;
use crate::process::{Host, ProcessHeap};
use crate::scanning::{CALLS, Failure, Piece, Presence, StoppedWorld, look_at};
use account::Account;
use by_age::Aged;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use hk_format::{Engine, LAST_SNAPSHOT_ENDING, NoteKind, Settings};
use hk_heap::Reuse;
use hk_os::Worker;
use pacing::{Cost, Pacing};
use stopped::PATIENCE_MS;
use tools::{Swept, Tools};
use tracked::OpenTracker;

/// Of a larger heap no snapshot is left at the end.
const LEFT_BYTES_MAX: u64 = 256 << 20;
/// A sweep of no more memory is made while the program stands still: that takes no longer than the stops of the other kind.
const STOPPED_BYTES_MAX: usize = 8 << 20;
/// A thread that frees waits so long at most for a sweep, when there is more in quarantine than may be.
const STALL_MS_MAX: u32 = 50;

/// See the module head. A part of a process's heap.
pub(crate) struct Sweeping {
    worker: Worker,
    is_on: AtomicBool,
    /// An [`Engine`].
    engine: AtomicU8,
    /// Whether it is known that the system tracks writes.
    is_tracking_known: AtomicBool,
    /// Whether a thread releases by age just now.
    is_aging: AtomicBool,
    aged: Aged,
    open_tracker: OpenTracker,
    pub(crate) pacing: Pacing,
    /// In which the last sweep looked for pointers.
    scanned_bytes: AtomicUsize,
    /// The process's time on processors when the last sweep ended.
    process_ns: AtomicU64,
    account: Account,
}

impl Sweeping {
    pub(crate) const fn new() -> Self {
        Sweeping {
            worker: Worker::new(),
            is_on: AtomicBool::new(false),
            engine: AtomicU8::new(Engine::Auto as u8),
            is_tracking_known: AtomicBool::new(false),
            is_aging: AtomicBool::new(false),
            aged: Aged::new(),
            open_tracker: OpenTracker::new(),
            pacing: Pacing::new(),
            scanned_bytes: AtomicUsize::new(0),
            process_ns: AtomicU64::new(0),
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

/// Whether no sandbox is known of that forbids what a sweep takes.
fn may_scan() -> bool {
    CALLS.into_iter().all(hk_os::may)
}

extern "C" fn work<H: Host>() {
    H::process().sweep_and_account();
}

impl<H: Host> ProcessHeap<H> {
    /// Takes over whether blocks are to be swept, and what limits there are.
    pub(crate) fn apply_quarantine(&self, settings: &Settings) {
        if self.heap.reuse() != Reuse::Swept {
            return;
        }
        let limit = self.sweeping.pacing.apply(settings, hk_os::memory_bytes_left());
        self.set_engine(settings.engine);
        self.heap.set_quarantine_zeroes(settings.zero);
        self.heap.set_quarantine_limit(limit);
        self.sweeping.is_on.store(true, Ordering::Relaxed);
    }

    /// While there is one thread, and once there is a recording: tries whether memory can be looked through at all.
    pub(crate) fn test_sweeps(&'static self) {
        if !self.sweeping.is_on() || self.engine() == Engine::Relaxed {
            return;
        }
        if let Err(failure) = self.try_to_look() {
            self.set_engine(Engine::Relaxed);
            let (detail, why) = failure.told();
            self.recording.note(NoteKind::Relaxed, detail, why);
        }
        self.record_sweeps();
    }

    /// All that a sweep at a stop takes, but for the sweep.
    fn try_to_look(&'static self) -> Result<(), Failure> {
        if !may_scan() {
            return Err(Failure::Sandbox);
        }
        let mut tools = Tools::new(self).ok_or(Failure::NoMemory)?;
        let world = StoppedWorld::stop(self, PATIENCE_MS).map_err(Failure::Stop)?;
        let (start, bytes) = self.heap.reservation();
        let is_listed = tools.holes.look(start, bytes);
        drop(world);
        let sample = [self as *const Self as usize; 8];
        let piece = Piece {
            start: sample.as_ptr().expose_provenance(),
            bytes: size_of_val(&sample),
            copied_only: false,
            stays: false,
            thread: 0,
        };
        let mut seen = 0;
        let is_read = look_at(&mut tools.window, &Presence::new(), piece, |_, words| {
            seen += words.iter().filter(|&&word| word == sample[0] as u64).count();
        });
        if is_listed && is_read && seen == sample.len() { Ok(()) } else { Err(Failure::NoList) }
    }

    fn engine(&self) -> Engine {
        Engine::from_u32(u32::from(self.sweeping.engine.load(Ordering::Relaxed))).unwrap_or(Engine::Auto)
    }

    fn set_engine(&self, engine: Engine) {
        self.sweeping.engine.store(engine as u8, Ordering::Relaxed);
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
        if self.engine() == Engine::Relaxed {
            // Acquire and Release: what one leaves the next finds.
            if !sweeping.is_aging.swap(true, Ordering::Acquire) {
                self.sweep_and_account();
                sweeping.is_aging.store(false, Ordering::Release);
            }
            return;
        }
        if !sweeping.worker.start(work::<H>) && !sweeping.worker.is_there() {
            // No thread is to be had, as in a sandbox.
            self.heap.set_quarantine_limit(sweeping.pacing.after_drop());
        }
        if self.heap.retained_since_sweep() > sweeping.pacing.stall_bytes() && sweeping.worker.is_there() {
            let begin_ns = hk_os::monotonic_ns();
            sweeping.worker.wait_for_end(STALL_MS_MAX);
            sweeping.account.note_stall(hk_os::monotonic_ns() - begin_ns);
        }
    }

    /// Writes down what sweeps did so far.
    pub(crate) fn record_sweeps(&self) {
        if self.sweeping.is_on() {
            self.recording.set_sweeps(&self.sweeping.account.figures(self.engine()));
        }
    }

    fn sweep_and_account(&'static self) {
        let account = &self.sweeping.account;
        let begin_ns = hk_os::thread_cpu_ns();
        match self.sweep() {
            Ok(swept) => {
                self.sweeping.scanned_bytes.store(swept.scanned_bytes, Ordering::Relaxed);
                account.note(&swept);
                let process_ns = hk_os::process_cpu_ns();
                let cost = Cost {
                    scanned_bytes: swept.scanned_bytes,
                    sweep_ns: hk_os::thread_cpu_ns() - begin_ns,
                    process_ns: process_ns - self.sweeping.process_ns.swap(process_ns, Ordering::Relaxed),
                    left_bytes: hk_os::memory_bytes_left(),
                };
                self.heap.set_quarantine_limit(self.sweeping.pacing.limit_after(cost));
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
        if self.engine() == Engine::Relaxed {
            return self.sweep_by_age();
        }
        if !may_scan() {
            return Err(Failure::Sandbox);
        }
        let mut tools = Tools::new(self).ok_or(Failure::NoMemory)?;
        // Before the first sweep nothing is known but the heap's size, what is free in it included.
        let scanned_bytes = match self.sweeping.scanned_bytes.load(Ordering::Relaxed) {
            0 => self.heap.span_bytes().saturating_sub(self.heap.retained_since_sweep()),
            scanned_bytes => scanned_bytes,
        };
        let is_large = scanned_bytes > STOPPED_BYTES_MAX;
        match self.engine() {
            Engine::Tracked => self.sweep_tracked(&mut tools, false),
            Engine::Blind => self.sweep_tracked(&mut tools, true),
            Engine::Auto if is_large && self.is_tracking() => self.sweep_tracked(&mut tools, false),
            _ => self.sweep_stopped(&mut tools),
        }
    }

    /// Whether the system tracks writes, as was seen once. If not, sweeps are made at stops from here on.
    fn is_tracking(&self) -> bool {
        let known = &self.sweeping.is_tracking_known;
        if !known.load(Ordering::Relaxed) {
            if !hk_os::tracks_writes() {
                self.set_engine(Engine::Stopped);
                return false;
            }
            known.store(true, Ordering::Relaxed);
        }
        true
    }

    /// At the end of the process that a run began with: leaves a snapshot for who wants to know what still pointed to freed blocks. Not of a large
    /// heap, as the user waits.
    pub(crate) fn leave_snapshot(&'static self) {
        if !self.sweeping.is_on() || !self.recording.is_of_first_process() {
            return;
        }
        let count = self.heap.count();
        if count.kept_blocks > 0 && count.live_bytes + count.kept_bytes <= LEFT_BYTES_MAX {
            with_recorder_path(LAST_SNAPSHOT_ENDING.as_bytes(), |path| _ = self.snapshot_to_file(path));
        }
    }

    /// In a fork child, where no sweep goes on.
    pub(crate) fn forget_sweep(&self) {
        self.sweeping.worker.forget();
        self.sweeping.open_tracker.close_inherited();
    }
}
