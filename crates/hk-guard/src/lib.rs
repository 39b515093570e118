//! Guarded blocks: each in pages of its own between inaccessible ones, so that the processor traps at the first bad access.
//!
//! A guarded block stands at the end of its pages, so that the first byte behind it is inaccessible (but for the slack of the alignment), or at
//! their start, so that the first byte before it is. What of its pages it does not use holds a *canary*, which is looked at when the block is
//! freed. A freed block's pages are inaccessible, and are the last to be used again. For each block it is known who allocated and freed it.
//!
//! - [`layout`]: how the area is cut into chunks, and chunks into slots: an address leads to its slot.
//! - [`slot`]: what is kept of a slot's block; its states.
//! - [`placement`]: where in its pages a block stands.
//! - [`canary`]: what stands beside it.
//! - [`pool`]: which slots are free; they rotate. `slot_stack`: those that were freed since. [`pages`]: opening and closing pages, by guard pages or by protection.
//! - `live`: the live blocks, for scans.
//! - [`guards`]: allocate and free; `batch`: closing pages some at a time. [`fault`]: what a bad address is about.
//!
//! An operation costs two system calls and a page fault, so all this is for a sample of a program's blocks, or for all of them where speed
//! matters less than to find each bug. There is one lock, for the lists of free slots; system calls are made outside of it. The state of a [`slot`]
//! and `slot_stack` hold all of the rest of the protocol between threads; they are what the loom models (`--cfg hk_loom`) explore.
#![no_std]
#![allow(unsafe_code, reason = "this crate decides which pages can be accessed")]

#[cfg(all(test, hk_loom))]
extern crate std;

#[cfg(not(hk_loom))]
mod runtime {
    pub use crate::canary::Damage;
    pub use crate::fault::{Fault, FaultKind};
    pub use crate::guards::{Freed, Guards, Method, Options, Refused, Request, Side};
    pub use crate::live::LiveBlock;
    pub use crate::slot::{Event, Life, SlotId};
}
#[cfg(not(hk_loom))]
pub use runtime::*;

#[cfg(not(hk_loom))]
mod batch;
#[cfg(not(hk_loom))]
pub mod canary;
#[cfg(not(hk_loom))]
pub mod fault;
#[cfg(not(hk_loom))]
pub mod guards;
#[cfg(not(hk_loom))]
pub mod layout;
#[cfg(not(hk_loom))]
mod live;
#[cfg(all(test, hk_loom))]
mod loom_models;
#[cfg(not(hk_loom))]
mod pages;
#[cfg(not(hk_loom))]
pub mod placement;
#[cfg(not(hk_loom))]
mod pool;
#[cfg_attr(hk_loom, expect(dead_code, reason = "the models take the steps that race"))]
pub mod slot;
mod slot_stack;
mod sync;
