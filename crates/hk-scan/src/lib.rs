//! Which blocks of a heap can still be reached.
//!
//! Every aligned word that holds an address of a block, or of a byte inside one, counts as a pointer to it (Boehm and Weiser, "Garbage
//! collection in an uncooperative environment", 1988). What no pointer leads to, from registers, stacks and static data on, is lost.
//!
//! - [`filter`]: finds the words of a piece of memory that lie in a range of addresses.
//! - [`blocks`]: what the marker needs to know of a heap; [`both`]: of one with guarded blocks. [`marks`]: a bit for each place where a block may begin.
//! - [`retained`]: blocks in quarantine. [`parts`]: which parts of a block are read.
//! - [`marker`]: reaches blocks from words, with a stack of bounded size.
//! - [`leaks`]: what follows for blocks that were not reached: which of them were lost, and which only with those.
//!
//! Nothing here allocates or locks. What is scanned may change meanwhile only where the caller takes care of that.
#![no_std]
#![allow(unsafe_code, reason = "this crate reads memory of whatever kind")]

pub mod blocks;
pub mod both;
pub mod filter;
pub mod leaks;
pub mod marker;
pub mod marks;
pub mod parts;
pub mod retained;

pub use blocks::{Block, Blocks, OrderedBlocks, Place};
pub use both::HeapAndGuards;
pub use filter::{AddressRange, Filter, Found};
pub use leaks::{Leak, LeakKind, LeakSets, find_leaks};
pub use marker::{Marker, Pending, mark_shallowly};
pub use marks::Marks;
pub use parts::PresentPages;
pub use retained::{RetainedBlocks, SliceEntry, index_slices};
