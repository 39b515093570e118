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
    /// Whether a signal came that asks a program to end.
    pub interrupted: bool,
}

/// Returns when CMD has ended. Descendants that outlive it are not waited for.
pub fn supervise(signals: &Signals, pid: u32) -> Ended {
    let mut job = Job { signals, pid, asked_to_stop: false, asked_to_end: false };
    loop {
        while let Some(change) = os::poll_child(pid).transpose() {
            match change {
                Ok(Change::Continued) => {}
                Ok(Change::Stopped(signal)) => job.stopped(signal),
                Ok(Change::Exited(status, r)) => return job.ended(Exit::Status(status), Some(r)),
                Ok(Change::Killed(signal, r)) => return job.ended(Exit::Signal(signal), Some(r)),
                // Somebody else reaped it: its status is lost.
                Err(_) => return job.ended(Exit::Status(i32::from(crate::failure::OWN_ERROR)), None),
            }
        }
        if let Some(arrived) = signals.next(PATIENCE) {
            job.pass_on(arrived);
        }
    }
}

/// CMD as a shell sees it: one job, of which we are the process that the shell knows.
struct Job<'a> {
    signals: &'a Signals,
    pid: u32,
    /// Whether a stop signal came to us since the last stop.
    asked_to_stop: bool,
    /// Whether a signal came to us that asks a program to end.
    asked_to_end: bool,
}

impl Job<'_> {
    fn ended(&self, exit: Exit, resources: Option<Resources>) -> Ended {
        Ended { exit, resources, interrupted: self.asked_to_end }
    }

    /// A key of the terminal reaches CMD without us, as it is in the same foreground group: a second one
    /// would be one too many.
    fn pass_on(&mut self, arrived: Arrived) {
        let stops = matches!(arrived.signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        self.asked_to_stop |= stops;
        self.asked_to_end |=
            matches!(arrived.signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT);
        if arrived.signal != libc::SIGCHLD && !arrived.from_kernel {
            os::send(self.pid, arrived.signal);
        }
    }

    /// CMD was stopped. The shell that started us has to see that; when it continues us, CMD goes on. Where
    /// there is no shell with a terminal, and nobody stopped us, somebody stopped CMD alone and will continue
    /// it alone: if we stopped too, nobody would ever continue us.
    fn stopped(&mut self, signal: i32) {
        if std::mem::take(&mut self.asked_to_stop) || has_terminal() {
            self.signals.stop_by(signal);
            os::send(self.pid, libc::SIGCONT);
        }
    }
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
