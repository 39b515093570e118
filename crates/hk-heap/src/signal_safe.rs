//! Changes of an owner's word that a signal handler of the same thread cannot tear.
//!
//! The owner's words are written by one thread, so they need no lock prefix. But that thread's signal handlers
//! may call malloc and free between any two instructions. Each change is therefore one instruction: a handler
//! is then like another thread that never runs at the same time. For malloc that instruction is a compare and
//! exchange, which costs a tenth of a malloc-bound program's time; so while the host knows that the process has
//! no signal handlers, malloc does with load and store (see ARCHITECTURE.md for the figures).

use crate::sync::{AtomicU64, Ordering};

#[cfg(all(target_arch = "x86_64", not(miri), not(hk_loom)))]
mod arch {
    use super::{AtomicU64, Ordering};
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

    #[inline(always)]
    pub fn exchange(word: &AtomicU64, old: u64, new: u64) -> bool {
        // SAFETY: as in `or`. Without lock prefix: atomic against this thread's signals only.
        unsafe {
            asm!(
                "cmpxchg qword ptr [{word}], {new}",
                "jne {torn}",
                word = in(reg) word.as_ptr(),
                new = in(reg) new,
                inout("rax") old => _,
                torn = label { return false },
                options(nostack),
            )
        };
        true
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(hk_loom))))]
mod arch {
    use super::{AtomicU64, Ordering};

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

    pub fn exchange(word: &AtomicU64, old: u64, new: u64) -> bool {
        word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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

/// Takes the lowest set bit out of the word; gives its number. `signals`: whether a handler may interrupt.
#[inline(always)]
pub fn take_lowest(word: &AtomicU64, signals: bool) -> Option<u32> {
    loop {
        let bits = word.load(Ordering::Relaxed);
        if bits == 0 {
            return None;
        }
        let rest = bits & (bits - 1);
        if !signals {
            word.store(rest, Ordering::Relaxed);
            return Some(bits.trailing_zeros());
        }
        if arch::exchange(word, bits, rest) {
            return Some(bits.trailing_zeros());
        }
    }
}
