//! Changes of an owner's words and counts that a signal handler of the same thread cannot tear.
//!
//! What the owner writes is written by one thread, so it needs no lock prefix. But that thread's signal handlers may call
//! malloc and free between any two instructions. A handler never takes from the heap that it interrupted (malloc marks it
//! busy, see [`crate::thread_heap::ThreadHeap`]), but it may free into it. So what a free changes is only ever changed by single
//! instructions: a handler is then like another thread that never runs at the same time.
//!
//! Rejected: a malloc without the mark, which takes a bit by an unlocked compare and exchange. It cost a tenth of a malloc-bound
//! program's time, and bins had to be read twice.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

#[cfg(all(target_arch = "x86_64", not(miri), not(hk_loom)))]
mod arch {
    use super::{AtomicU32, AtomicU64, Ordering};
    use core::arch::asm;

    #[inline(always)]
    pub fn or(word: &AtomicU64, bits: u64) {
        // SAFETY: an aligned word that only this thread writes; x86 stores are releases.
        unsafe { asm!("or qword ptr [{0}], {1}", in(reg) word.as_ptr(), in(reg) bits, options(nostack)) };
    }

    #[inline(always)]
    pub fn and(word: &AtomicU64, bits: u64) {
        // SAFETY: as in `or`.
        unsafe { asm!("and qword ptr [{0}], {1}", in(reg) word.as_ptr(), in(reg) bits, options(nostack)) };
    }

    /// Cheaper than MFENCE, which also waits for loads of other memory types (AMD "Software Optimization Guide for the Zen family", on
    /// fences; measured in ARCHITECTURE.md).
    #[inline(always)]
    pub fn full_fence() {
        // SAFETY: changes nothing: a locked OR of zero with the top of the stack.
        unsafe { asm!("lock or dword ptr [rsp], 0") };
    }

    /// x86's locked instructions are full fences themselves: only the compiler has to be told.
    #[inline(always)]
    pub fn fence_after_rmw() {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// True if the result is zero.
    #[inline(always)]
    pub fn decrement(count: &AtomicU32) -> bool {
        // SAFETY: as in `or`.
        unsafe {
            asm!(
                "sub dword ptr [{0}], 1",
                "jz {1}",
                in(reg) count.as_ptr(),
                label { return true },
                options(nostack),
            )
        };
        false
    }

    #[inline(always)]
    pub fn add(count: &AtomicU32, change: u32) {
        // SAFETY: as in `or`.
        unsafe {
            asm!("add dword ptr [{0}], {1:e}", in(reg) count.as_ptr(), in(reg) change, options(nostack))
        };
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(hk_loom))))]
mod arch {
    use super::{AtomicU32, AtomicU64, Ordering};

    pub fn or(word: &AtomicU64, bits: u64) {
        word.fetch_or(bits, Ordering::Release);
    }

    pub fn and(word: &AtomicU64, bits: u64) {
        word.fetch_and(bits, Ordering::Release);
    }

    pub fn full_fence() {
        crate::sync::fence(Ordering::SeqCst);
    }

    pub fn fence_after_rmw() {
        full_fence();
    }

    pub fn decrement(count: &AtomicU32) -> bool {
        count.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub fn add(count: &AtomicU32, change: u32) {
        count.fetch_add(change, Ordering::Relaxed);
    }
}

/// Sets bits; a release.
#[inline(always)]
pub fn or(word: &AtomicU64, bits: u64) {
    arch::or(word, bits);
}

/// Keeps only `bits`; a release.
#[inline(always)]
pub fn and(word: &AtomicU64, bits: u64) {
    arch::and(word, bits);
}

/// Orders all loads and stores before it before all after it, for all threads.
#[inline(always)]
pub fn full_fence() {
    arch::full_fence();
}

/// The same, right after a read-modify-write.
#[inline(always)]
pub fn fence_after_rmw() {
    arch::fence_after_rmw();
}

/// Takes one off a count; true if none is left.
#[inline(always)]
pub fn decrement(count: &AtomicU32) -> bool {
    arch::decrement(count)
}

/// Adds to a count, modulo 2^32.
#[inline(always)]
pub fn add(count: &AtomicU32, change: u32) {
    arch::add(count, change);
}
