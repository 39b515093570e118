//! Stops the process's other threads for a while, and tells where they stand.
//!
//! Each gets a signal whose handler says that it is there, and waits. The signal is the one by which glibc has all threads change their user
//! (SIGSETXID, nptl(7)): glibc's functions never block it, wait for it, or show it to a program. What glibc itself sends is told apart by
//! its origin (`si_code`) and handed on. Threads are listed by the kernel, so that those that libc does not know of are stopped too.
//!
//! A thread that does not answer in time (it blocks all signals by system calls of its own, or is stopped itself) is no harm: the stop is given
//! up, and a signal that arrives late means nothing.
//!
//! - [`gate`]: who is there, and when all may go on. [`handler`]: what a thread does meanwhile. [`threads`]: which there are.
//! - [`deaf`]: threads that are not going to answer.
//! - [`registers`]: what stands in a stopped thread's.
//! - [`restart`]: calls that a signal interrupts go on, so that the program sees no EINTR.

mod deaf;
mod gate;
mod handler;
mod registers;
mod restart;
mod sync;
mod threads;

pub(crate) use handler::SIGNAL;
pub use handler::{Context, SignalStack, note_signal_stack};
pub use threads::{name_of as thread_name_of, pagemap_of as thread_pagemap_of};

use super::monotonic_ns;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use deaf::Deafness;
use gate::{Gate, Slot};

/// A stop of more threads is given up.
const THREADS_MAX: usize = 4096;

/// Why there was no stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopFailure {
    /// Another is going on.
    Busy,
    /// The threads could not be listed: no /proc, or a sandbox.
    NoList,
    /// There are more threads than can be stopped.
    TooMany,
    /// The system refused to install the handler, or to send the signal.
    Refused,
    /// A thread did not answer in time; its id.
    NoAnswer(u32),
}

static GATE: Gate<THREADS_MAX> = Gate {
    epoch: AtomicU32::new(0),
    arrivals: AtomicU32::new(0),
    slots: [const { Slot { thread: AtomicU32::new(0), state: AtomicU64::new(0) } }; THREADS_MAX],
};
/// One stop at a time.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// All other threads wait until this is dropped.
#[derive(Debug)]
pub struct Stopped {
    count: usize,
    /// How long it took until all were there.
    pub handshake_ns: u64,
}

impl Stopped {
    /// Where each thread stands.
    pub fn contexts(&self) -> impl Iterator<Item = Context> {
        (0..self.count).filter_map(|slot| Some(Context::new(GATE.context(slot)?, GATE.thread(slot))))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        GATE.open();
        IS_TAKEN.store(false, Ordering::Release);
    }
}

/// Stops all other threads of the process. They may hold any lock; what the caller needs, it has to hold itself. Takes at most `patience_ms`.
///
/// # Errors
/// All threads run then.
pub fn stop_others(patience_ms: u32) -> Result<Stopped, StopFailure> {
    if IS_TAKEN.swap(true, Ordering::Acquire) {
        return Err(StopFailure::Busy);
    }
    let _errno = super::Errno::keep();
    let begin_ns = monotonic_ns();
    // From here on a drop opens the gate.
    let mut stopped = Stopped { count: 0, handshake_ns: 0 };
    if !handler::install() {
        return Err(StopFailure::Refused);
    }
    GATE.close();
    stopped.count = gather(begin_ns + u64::from(patience_ms) * 1_000_000)?;
    stopped.handshake_ns = monotonic_ns() - begin_ns;
    Ok(stopped)
}

/// Sends the signal to all that have not got it, until a list has nobody new and all are there. Gives their number.
fn gather(until_ns: u64) -> Result<usize, StopFailure> {
    let own = threads::own_id();
    let mut sent = 0;
    loop {
        let before = sent;
        let mut failure = None;
        let listed = threads::for_each(|thread| {
            if thread == own || GATE.is_expected(thread, sent) || failure.is_some() {
                return;
            }
            match sent {
                THREADS_MAX => failure = Some(StopFailure::TooMany),
                slot => {
                    GATE.expect(slot, thread);
                    match handler::send(thread, GATE.epoch(), slot) {
                        handler::Sent::Yes => sent += 1,
                        // It has ended.
                        handler::Sent::Gone => {}
                        handler::Sent::Refused => failure = Some(StopFailure::Refused),
                    }
                }
            }
        });
        if !listed {
            return Err(StopFailure::NoList);
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        wait_for_all(sent, until_ns)?;
        // Those that were made before their makers stopped are in the next list.
        if sent == before {
            return Ok(sent);
        }
    }
}

/// Waits until all that were sent the signal are there, or have ended.
fn wait_for_all(sent: usize, until_ns: u64) -> Result<(), StopFailure> {
    let mut deafness = Deafness::from(monotonic_ns());
    loop {
        let seen = GATE.arrivals();
        let missing = (0..sent).filter(|&slot| GATE.context(slot).is_none());
        let mut missing = missing.map(|slot| GATE.thread(slot)).filter(|&thread| threads::is_there(thread));
        let Some(first) = missing.next() else { return Ok(()) };
        let now_ns = monotonic_ns();
        if now_ns > until_ns || deafness.is_certain(first, now_ns) {
            return Err(StopFailure::NoAnswer(first));
        }
        GATE.wait_for_arrival(seen);
    }
}
