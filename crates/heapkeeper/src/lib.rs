//! Heapkeeper as a Rust program's global allocator.
//!
//! ```
//! use heapkeeper::Heapkeeper;
//!
//! #[global_allocator]
//! static HEAP: Heapkeeper = Heapkeeper::new();
//!
//! let orders = vec![1u64, 2, 3, 4];
//! assert!(HEAP.stats().live_bytes >= 32);
//! # drop(orders);
//! ```
//!
//! Every deallocation is checked: a block that is freed twice, or an address that is no block, is reported and
//! the call ignored. Reports go to standard error, a line each; under `heapkeeper run` to its recording, with
//! stacks. Choices are read from the variable `HEAPKEEPER` (see [`hk_format::Settings`]), with the same code as the
//! command and the preloaded library use.
//!
//! # How it is built
//!
//! [`process::ProcessHeap`] is what a process needs round an [`hk_heap::Heap`]: the start on first use, the calling thread's
//! heap, thread exit, fork, settings, findings. It has two hosts: [`Heapkeeper`] here, and the preloaded library.
#![no_std]
#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

mod environment;
mod findings;
mod global;
pub mod guarding;
pub mod process;
mod scanning;
mod stop;
mod sweeping;
mod threads;

pub use global::{Heapkeeper, Stats};
pub use hk_heap::HugePages;
pub use scanning::SnapshotError;
