//! What a snapshot of a heap tells: what is reached and what is lost, who holds a block, and how much would come free with it.
//!
//! ```text
//! bytes ──► read ──► Snapshot ─┬─ Graph: blocks by address, pointers between them
//!             ▲                └─ roots, lives, stacks, freed blocks that something still points to, spans
//!           Writer
//! Snapshot ──► reach        what the roots lead to
//!          ──► leaks        what they do not lead to, as hk-scan tells it inside the program
//!          ──► dominators ──► retained: what comes free with a block, a site or a root
//!          ──► paths        the shortest way from a root to a block
//!          ──► holders, dangling, census
//! ```
//!
//! A block is a number: its place in the order of addresses. Pointers are one list, in the order of the blocks that hold them (compressed sparse
//! rows), so that ten million blocks with two pointers each take 360 MB, and what is known of a block's dominators 200 MB more. Nothing here
//! recurses: a list of a million blocks is a path of a million steps.

mod bits;
mod census;
mod chunk;
mod dangling;
mod dominators;
mod error;
mod graph;
mod holders;
mod leaks;
mod paths;
mod reach;
mod read;
mod retained;
mod snapshot;
mod write;

pub use bits::Bits;
pub use census::{Census, Change, Count, Estimate, Scale, changes};
pub use dangling::{Dangling, dangling, still_dangling};
pub use dominators::{Dominators, RootGroups, dominators};
pub use error::SnapshotError;
pub use graph::{Block, Graph};
pub use holders::{Holder, holders};
pub use leaks::{Leak, LeakKind, Lost, find_leaks, intersect};
pub use paths::{Path, Paths, Step};
pub use reach::{Reached, reach, reached};
pub use read::read;
pub use retained::{Accumulation, Retained, Size};
pub use snapshot::{FreedPointer, Life, Lives, Module, Root, Snapshot, Spans, Stacks};
pub use write::Writer;
