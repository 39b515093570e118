//! The atomics of the protocol: core's, or loom's when its models are built.

#[cfg(not(hk_loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(hk_loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
