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
    pub unsafe fn or_field<const OFFSET: usize>(owner: *const u8, bits: u64) {
        // SAFETY: an aligned word that only this thread writes; x86 stores are releases.
        unsafe {
            asm!("or qword ptr [{0} + {1}], {2}", in(reg) owner, const OFFSET, in(reg) bits, options(nostack))
        };
    }

    #[inline(always)]
    pub unsafe fn union_of_fields<const A: usize, const B: usize, const C: usize>(owner: *const u8) -> u64 {
        let union: u64;
        // SAFETY: three aligned words; x86 loads of them are relaxed loads.
        unsafe {
            asm!(
                "mov {union}, qword ptr [{owner} + {a}]",
                "or {union}, qword ptr [{owner} + {b}]",
                "or {union}, qword ptr [{owner} + {c}]",
                owner = in(reg) owner,
                union = out(reg) union,
                a = const A,
                b = const B,
                c = const C,
                options(nostack, readonly),
            )
        };
        union
    }

    /// BTS takes its operand modulo 64, and needs no particular register: shorter than a shift.
    #[inline(always)]
    pub fn bit(index: usize) -> u64 {
        let bit: u64;
        // SAFETY: computes.
        unsafe {
            asm!("xor {0:e}, {0:e}", "bts {0}, {1}", out(reg) bit, in(reg) index, options(pure, nomem, nostack))
        };
        bit
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
    pub unsafe fn field_differs<const OFFSET: usize>(owner: *const u8, value: u64) -> bool {
        // SAFETY: an aligned word; x86 loads are relaxed loads.
        unsafe {
            asm!(
                "cmp qword ptr [{0} + {1}], {2}",
                "jne {3}",
                in(reg) owner,
                const OFFSET,
                in(reg) value,
                label { return true },
                options(nostack, readonly),
            )
        };
        false
    }

    /// True if the result is zero.
    #[inline(always)]
    pub unsafe fn decrement_field<const OFFSET: usize>(owner: *const u8) -> bool {
        // SAFETY: an aligned count that only this thread writes.
        unsafe {
            asm!(
                "sub dword ptr [{0} + {1}], 1",
                "jz {2}",
                in(reg) owner,
                const OFFSET,
                label { return true },
                options(nostack),
            )
        };
        false
    }

    #[inline(always)]
    pub fn prefetch_for_write(word: &AtomicU64) {
        // SAFETY: a hint; changes nothing.
        unsafe {
            asm!("prefetchw byte ptr [{0}]", in(reg) word.as_ptr(), options(nostack, preserves_flags, readonly))
        };
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
    #[cfg(not(hk_loom))]
    use core::sync::atomic::fence;
    #[cfg(hk_loom)]
    use loom::sync::atomic::fence;

    unsafe fn field<'a, T>(owner: *const u8, offset: usize) -> &'a T {
        // SAFETY: inside the owner, by the callers' word.
        let field: *const T = unsafe { owner.add(offset) }.cast();
        // SAFETY: as above; atomics.
        unsafe { &*field }
    }

    pub unsafe fn or_field<const OFFSET: usize>(owner: *const u8, bits: u64) {
        // SAFETY: the caller's word.
        let word: &AtomicU64 = unsafe { field(owner, OFFSET) };
        word.fetch_or(bits, Ordering::Release);
    }

    pub unsafe fn union_of_fields<const A: usize, const B: usize, const C: usize>(owner: *const u8) -> u64 {
        [A, B, C].into_iter().fold(0, |union, offset| {
            // SAFETY: the caller's word.
            let word: &AtomicU64 = unsafe { field(owner, offset) };
            union | word.load(Ordering::Relaxed)
        })
    }

    pub unsafe fn field_differs<const OFFSET: usize>(owner: *const u8, value: u64) -> bool {
        // SAFETY: the caller's word.
        let word: &AtomicU64 = unsafe { field(owner, OFFSET) };
        word.load(Ordering::Relaxed) != value
    }

    pub fn bit(index: usize) -> u64 {
        1 << (index % 64)
    }

    pub fn and(word: &AtomicU64, bits: u64) {
        word.fetch_and(bits, Ordering::Release);
    }

    pub fn full_fence() {
        fence(Ordering::SeqCst);
    }

    pub fn fence_after_rmw() {
        full_fence();
    }

    pub unsafe fn decrement_field<const OFFSET: usize>(owner: *const u8) -> bool {
        // SAFETY: the caller's word.
        let count: &AtomicU32 = unsafe { field(owner, OFFSET) };
        count.fetch_sub(1, Ordering::Relaxed) == 1
    }

    pub fn prefetch_for_write(_: &AtomicU64) {}

    pub fn add(count: &AtomicU32, change: u32) {
        count.fetch_add(change, Ordering::Relaxed);
    }
}

/// Sets bits; a release. Fields are named by their owner and offset, so that the instruction does the addition.
///
/// # Safety
/// At `OFFSET` bytes from `owner` is an [`AtomicU64`] that only this thread writes, and `owner` may be used for all of that value.
#[inline(always)]
pub unsafe fn or_field<const OFFSET: usize>(owner: *const u8, bits: u64) {
    // SAFETY: the caller's word.
    unsafe { arch::or_field::<OFFSET>(owner, bits) };
}

/// All bits that are set in one of three words; relaxed.
///
/// # Safety
/// At the three offsets from `owner` is an [`AtomicU64`] each, and `owner` may be used for all of that value.
#[inline(always)]
pub unsafe fn union_of_fields<const A: usize, const B: usize, const C: usize>(owner: *const u8) -> u64 {
    // SAFETY: the caller's word.
    unsafe { arch::union_of_fields::<A, B, C>(owner) }
}

/// Whether a word that anyone may write is not `value`; relaxed.
///
/// # Safety
/// At `OFFSET` bytes from `owner` is an [`AtomicU64`], and `owner` may be used for all of that value.
#[inline(always)]
pub unsafe fn field_differs<const OFFSET: usize>(owner: *const u8, value: u64) -> bool {
    // SAFETY: the caller's word.
    unsafe { arch::field_differs::<OFFSET>(owner, value) }
}

/// The bit with number `index` modulo 64.
#[inline(always)]
pub fn bit(index: usize) -> u64 {
    arch::bit(index)
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
///
/// # Safety
/// As for [`or_field`], with an [`AtomicU32`].
#[inline(always)]
pub unsafe fn decrement_field<const OFFSET: usize>(owner: *const u8) -> bool {
    // SAFETY: the caller's word.
    unsafe { arch::decrement_field::<OFFSET>(owner) }
}

/// A word will be read, then written: its cache line is fetched once for both. A hint.
#[inline(always)]
pub fn prefetch_for_write(word: &AtomicU64) {
    arch::prefetch_for_write(word);
}

/// Adds to a count, modulo 2^32.
#[inline(always)]
pub fn add(count: &AtomicU32, change: u32) {
    arch::add(count, change);
}
