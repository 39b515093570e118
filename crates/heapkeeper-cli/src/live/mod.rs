//! Processes that run on our heap and can be asked for something: through the recording that both have mapped ([`hk_format::Control`]).
//!
//! - [`reach`]: which processes there are, and their recordings.
//! - [`shared`]: a recording as memory. [`channel`]: a request, and the answer to it as it comes.
//! - [`counting`]: whether a snapshot is whole, counted while it passes through.

mod channel;
mod counting;
pub mod reach;
mod shared;

pub use counting::Counted;

use crate::Failure;
use channel::Channel;
use hk_format::{SnapshotHeader, SnapshotTotals};
use std::io::{self, Read};

/// A snapshot of a live process, as it comes: whole, or reading it fails.
pub struct LiveSnapshot {
    counted: Counted<Channel>,
}

impl LiveSnapshot {
    /// Its header: who, when, and how long the program stood still.
    pub fn header(&self) -> &SnapshotHeader {
        self.counted.header()
    }

    /// What it came to, once it was read to its end.
    pub fn totals(&self) -> &SnapshotTotals {
        self.counted.totals()
    }
}

impl Read for LiveSnapshot {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.counted.read(buffer)
    }
}

/// Has a process make a snapshot of itself. Waits until it comes by, that is until it allocates; the program then stands still for as long as
/// [`LiveSnapshot::header`] says, and goes on while the snapshot is read. A signal that would end this process ends the reading.
pub fn snapshot_of(pid: u32) -> Result<LiveSnapshot, Failure> {
    let reached = reach::reach(pid)?;
    let channel = Channel::ask(&reached)?;
    let counted = Counted::new(channel).map_err(|error| failed(pid, &error))?;
    Ok(LiveSnapshot { counted })
}

/// That a snapshot could not be read to its end.
pub fn failed(pid: u32, error: &io::Error) -> Failure {
    match channel::interruption(error) {
        Some(signal) => Failure::with_code(format!("no snapshot of {pid}: {error}"), 128 + signal),
        None => Failure::new(format!("no snapshot of {pid}: {error}")),
    }
}
