//! The heap: bookkeeping that is bits, far away from the program's data.
//!
//! Every block owns one bit in each of four sets ([`word`]): *avail* (may be handed out), *freed* (by its
//! owner, waits for a refill), *remote* (freed by another thread), *quarantine* (freed, and retained). A block in none of them
//! is live. malloc takes the lowest bit of a word; free sets one; a double free is a bit that is set already;
//! an invalid free is an address that is not the start of a block. No block's memory is ever touched.
//!
//! From the bottom up:
//!
//! - [`size_class`]: which sizes share a span, and how it is cut.
//! - [`word`]: the ledger. The states of a block and every legal move between them.
//! - [`tally`]: how many blocks of a span are in use.
//! - [`span`]: headers. An address leads to its span's header by a subtraction and a shift.
//! - [`mailbox`]: how an owner learns of remote frees; who may act for which thread heap.
//! - [`tables`], [`slices`], `resting`, `purging`, [`words`]: the reservation, which slices are free, where words come from.
//! - [`bin`], [`thread_heap`]: one bin per class.
//! - [`lock`], [`fork_mark`]: the one lock, and whether a fork left it behind.
//! - [`heap`], [`fast`]: the heap as a value, and the fast paths. `refill`, `release`, `large`, `purge`, `registry`, `fork`: the slow ones.
//! - [`quarantine`]: freed blocks wait until no pointer to them is left.
//! - [`sampling`]: every so many-th malloc is told of.
//! - [`walk`]: exact counts, and `verify`. `live`: the live blocks, for scans.
//!
//! A [`Heap`] is a value made from an [`hk_os::Os`]; nothing in this crate is global but constant tables,
//! a word without blocks, and whether the processor can count bits. [`word`], [`mailbox`] and
//! [`fork_mark`] hold all of the protocol between threads; they are what the loom models (`--cfg hk_loom`) explore.
#![no_std]
#![allow(unsafe_code, reason = "this crate turns addresses into blocks")]

#[cfg(all(test, not(hk_loom)))]
extern crate std;

#[cfg(not(hk_loom))]
mod bin;
pub mod fork_mark;
pub mod mailbox;
mod signal_safe;
mod sync;
#[cfg(not(hk_loom))]
mod tally;
pub mod word;

#[cfg(not(hk_loom))]
pub use runtime::*;

#[cfg(not(hk_loom))]
mod contents;
#[cfg(not(hk_loom))]
pub mod fast;
#[cfg(not(hk_loom))]
pub mod figures;
#[cfg(not(hk_loom))]
mod fork;
#[cfg(not(hk_loom))]
pub mod heap;
#[cfg(not(hk_loom))]
mod holes;
#[cfg(not(hk_loom))]
mod idle;
#[cfg(not(hk_loom))]
mod idle_pages;
#[cfg(not(hk_loom))]
mod large;
#[cfg(not(hk_loom))]
mod live;
#[cfg(not(hk_loom))]
pub mod lock;
#[cfg(not(hk_loom))]
pub mod misuse;
#[cfg(not(hk_loom))]
mod pace;
#[cfg(not(hk_loom))]
mod population;
#[cfg(not(hk_loom))]
mod purge;
#[cfg(not(hk_loom))]
mod purging;
#[cfg(not(hk_loom))]
pub mod quarantine;
#[cfg(not(hk_loom))]
mod refill;
#[cfg(not(hk_loom))]
mod registry;
#[cfg(not(hk_loom))]
mod release;
#[cfg(not(hk_loom))]
mod resting;
#[cfg(not(hk_loom))]
pub mod sampling;
#[cfg(not(hk_loom))]
pub mod size_class;
#[cfg(not(hk_loom))]
pub mod slices;
#[cfg(not(hk_loom))]
pub mod span;
#[cfg(not(hk_loom))]
pub mod tables;
#[cfg(not(hk_loom))]
pub mod thread_heap;
#[cfg(not(hk_loom))]
pub mod walk;
#[cfg(not(hk_loom))]
pub mod words;

#[cfg(not(hk_loom))]
mod runtime {
    pub use crate::contents::{Area, BlockSets, SpanContents};
    pub use crate::fast::{FastFree, fits_in_place};
    pub use crate::figures::LiveFigures;
    pub use crate::heap::{Heap, HugePages, NoAddressSpace, Options, REQUEST_BYTES_MAX, Reuse};
    pub use crate::live::{BlockPlace, SpanPlace};
    pub use crate::misuse::{At, Misuse};
    pub use crate::quarantine::{InQuarantine, Retained, SweptPiece};
    pub use crate::size_class::SLICE_BYTES;
    pub use crate::thread_heap::{FastAllocate, ThreadHeap};
    pub use crate::walk::Count;
}
