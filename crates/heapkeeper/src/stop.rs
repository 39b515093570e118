//! How a finding stops the process while other threads have findings too.
//!
//! A thread that is recording a finding gets time to finish, or that would lack its stack; one that comes later does not begin.
//! Either the one sees the other, as both write first and then look.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use hk_os::{Linux, Os};

/// A stack takes some tens of microseconds, but its thread may have to wait for a processor. Bounded, as a signal handler may have
/// interrupted the very thread that is waited for, and as the program may catch SIGABRT and go on.
const WAIT_MS_MAX: u64 = 1000;
const SLEEP_MS: u32 = 1;

/// Who records a finding now, and who stops the process for one.
pub(crate) struct Stop {
    recording: AtomicU32,
    /// The thread that stops the process, or 0.
    stopper: AtomicUsize,
    /// From then on nobody waits for the stopper: the program has caught SIGABRT and goes on.
    stopped_by_ms: AtomicU64,
}

impl Stop {
    pub(crate) const fn new() -> Self {
        Stop { recording: AtomicU32::new(0), stopper: AtomicUsize::new(0), stopped_by_ms: AtomicU64::new(0) }
    }

    /// Calls `record`, unless the process ends meanwhile.
    pub(crate) fn record<R>(&self, record: impl FnOnce() -> R) -> R {
        self.begin();
        let result = record();
        self.recording.fetch_sub(1, SeqCst);
        result
    }

    fn begin(&self) {
        let thread = Linux.thread_token();
        loop {
            self.recording.fetch_add(1, SeqCst);
            let stopper = self.stopper.load(SeqCst);
            if stopper == 0 || stopper == thread || Linux.now_ms() >= self.stopped_by_ms.load(SeqCst) {
                return;
            }
            let others = self.recording.fetch_sub(1, SeqCst) - 1;
            Linux.wait(&self.recording, others, SLEEP_MS);
        }
    }

    /// Ends the process by SIGABRT.
    pub(crate) fn abort(&self) {
        let until = Linux.now_ms() + WAIT_MS_MAX;
        // Before the stopper: who sees that sees until when.
        self.stopped_by_ms.store(until, SeqCst);
        self.stopper.store(Linux.thread_token(), SeqCst);
        loop {
            let recording = self.recording.load(SeqCst);
            if recording == 0 || Linux.now_ms() >= until {
                break;
            }
            Linux.wait(&self.recording, recording, SLEEP_MS);
        }
        // SAFETY: what abort(3) does, which returns to nobody.
        unsafe { libc::abort() };
    }

    /// In a fork child, where no other thread runs.
    pub(crate) fn forget_others(&self) {
        self.recording.store(0, SeqCst);
        self.stopper.store(0, SeqCst);
    }
}
