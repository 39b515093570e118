//! Waits for CMD, and lets signals and job control pass through as if heapkeeper were not there.

use crate::os::{self, Arrived, Change, Resources, Signals};
use hk_report::Exit;
use std::time::Duration;

/// How long a lost wake-up could delay the end; SIGCHLD wakes earlier.
const PATIENCE: Duration = Duration::from_millis(500);

/// How CMD ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Status or signal.
    pub exit: Exit,
    /// What the kernel counted, if it told.
    pub resources: Option<Resources>,
}

/// Returns when CMD has ended. Descendants that outlive it are not waited for.
pub fn supervise(signals: &Signals, pid: u32) -> Ended {
    loop {
        loop {
            match os::poll_child(pid) {
                Ok(None) => break,
                Ok(Some(Change::Continued)) => {}
                Ok(Some(Change::Stopped(signal))) => stop_too(signals, pid, signal),
                Ok(Some(Change::Exited(status, r))) => return ended(Exit::Status(status), Some(r)),
                Ok(Some(Change::Killed(signal, r))) => return ended(Exit::Signal(signal), Some(r)),
                // Somebody else reaped it: its status is lost.
                Err(_) => return ended(Exit::Status(i32::from(crate::failure::OWN_ERROR)), None),
            }
        }
        if let Some(arrived) = signals.next(PATIENCE) {
            pass_on(pid, arrived);
        }
    }
}

fn ended(exit: Exit, resources: Option<Resources>) -> Ended {
    Ended { exit, resources }
}

/// A key of the terminal reaches CMD without us, as it is in the same foreground group: a second one would
/// be one too many.
fn pass_on(pid: u32, arrived: Arrived) {
    if arrived.signal != libc::SIGCHLD && !arrived.from_kernel {
        os::send(pid, arrived.signal);
    }
}

/// CMD was stopped: the shell that started us has to see that, and when it continues us, CMD goes on.
fn stop_too(signals: &Signals, pid: u32, signal: i32) {
    signals.stop_by(signal);
    os::send(pid, libc::SIGCONT);
}
