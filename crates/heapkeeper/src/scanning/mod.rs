//! Looking through all memory for pointers to blocks.
//!
//! - [`world`]: everybody stopped, and all locks held.
//! - [`roots`]: registers, stacks, static data, and what else the program may write to.
//! - [`holes`]: blocks' pages that can't be read.
//! - [`memory`]: memory to work with, and a look at memory that may vanish.
//! - [`live`]: what the command asks of a process that runs. [`to_file`]: what the program itself asks for.
//! - [`image`]: an image of the process. [`snapshot`]: all blocks and pointers, as an image writes them; [`chunks`]: on their way out; [`sink`]: where to.
//! - [`leaks`]: blocks that nothing leads to. [`lost`]: how many of which allocation site.

mod chunks;
mod holes;
mod image;
mod leaks;
mod live;
mod lost;
mod memory;
mod roots;
mod sink;
mod snapshot;
mod to_file;
mod world;

pub(crate) use holes::Holes;
pub(crate) use leaks::{CALLS, Failure, STACK_ENTRIES, mark_from_roots};
pub(crate) use live::Live;
pub(crate) use memory::{PAGE_BYTES, Presence, Scratch, WINDOW_WORDS, look_at};
pub(crate) use roots::{Piece, Roots};
pub use to_file::SnapshotError;
pub(crate) use world::StoppedWorld;

use core::sync::atomic::{AtomicBool, Ordering};
use hk_format::Leaks;

/// See the module head. A part of a process's heap.
pub(crate) struct Scanning {
    leaks_at_exit: AtomicBool,
    /// They were looked for, or it was told why not.
    has_ended: AtomicBool,
}

impl Scanning {
    pub(crate) const fn new() -> Self {
        Scanning { leaks_at_exit: AtomicBool::new(false), has_ended: AtomicBool::new(false) }
    }

    pub(crate) fn set_leaks(&self, leaks: Leaks) {
        self.leaks_at_exit.store(leaks == Leaks::Exit, Ordering::Relaxed);
    }

    fn looks_at_exit(&self) -> bool {
        self.leaks_at_exit.load(Ordering::Relaxed)
    }
}
