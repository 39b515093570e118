//! Everybody stopped, and all locks held.

use crate::process::{Host, ProcessHeap};
use hk_os::{Context, StopFailure, Stopped, stop_others};

/// While this is there, nothing of the program changes: its other threads wait, outside of whatever the heap's locks protect.
pub(crate) struct StoppedWorld<H: Host> {
    process: &'static ProcessHeap<H>,
    /// Dropped by hand, before the locks are given back.
    threads: Option<Stopped>,
}

impl<H: Host> StoppedWorld<H> {
    /// Stops all other threads. They may be in the midst of malloc, but in no part that a lock protects.
    pub(crate) fn stop(process: &'static ProcessHeap<H>, patience_ms: u32) -> Result<Self, StopFailure> {
        // In this order, as before a fork.
        process.guarding.guards.prepare_fork();
        process.heap.prepare_fork();
        // From here on a drop gives the locks back.
        let mut world = StoppedWorld { process, threads: None };
        world.threads = Some(stop_others(patience_ms)?);
        Ok(world)
    }

    /// Where the others stand.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = Context> {
        self.threads.iter().flat_map(Stopped::contexts)
    }
}

impl<H: Host> Drop for StoppedWorld<H> {
    fn drop(&mut self) {
        self.threads = None;
        self.process.heap.after_fork_in_parent();
        self.process.guarding.guards.after_fork_in_parent();
    }
}
