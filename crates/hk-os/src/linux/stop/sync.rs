//! What the gate is made of: atomics, and waiting for one to change. The model of the gate has its own.

pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::super::bare::system_call;

/// Sleeps while `word` is `expected`, at most `timeout_ms`. By the bare call: a thread without libc may come here, and its errno is not to be touched.
pub(super) fn wait(word: &AtomicU32, expected: u32, timeout_ms: u32) {
    let timeout = libc::timespec {
        tv_sec: i64::from(timeout_ms / 1000),
        tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
    };
    futex(word, libc::FUTEX_WAIT, expected, (&raw const timeout).addr());
}

/// Wakes so many that sleep on `word`.
pub(super) fn wake(word: &AtomicU32, count: i32) {
    futex(word, libc::FUTEX_WAKE, count as u32, 0);
}

fn futex(word: &AtomicU32, operation: i32, value: u32, timeout: usize) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let arguments = [word.as_ptr().addr(), operation as usize, value as usize, timeout, 0, 0];
    // SAFETY: the word and the time-out live through the call.
    unsafe { system_call(libc::SYS_futex, arguments) };
}
