//! How many bits are set: the visits' most frequent question.
//!
//! x86-64's baseline has no POPCNT, and what the compiler makes instead is a dozen instructions; nearly every processor since 2008 has
//! it (Intel SDM volume 2, CPUID.1:ECX bit 23).

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod arch {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;
    use core::sync::atomic::{AtomicBool, Ordering};

    static HAS_POPCNT: AtomicBool = AtomicBool::new(false);

    pub fn look_at_processor() {
        // Relaxed: who reads an old value only counts more slowly.
        HAS_POPCNT.store(__cpuid(1).ecx >> 23 & 1 != 0, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn count(bits: u64) -> u32 {
        if !HAS_POPCNT.load(Ordering::Relaxed) {
            return bits.count_ones();
        }
        let count: u64;
        // SAFETY: computes, by an instruction that the processor has.
        unsafe { asm!("popcnt {0}, {1}", out(reg) count, in(reg) bits, options(pure, nomem, nostack)) };
        count as u32
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod arch {
    pub fn look_at_processor() {}

    pub fn count(bits: u64) -> u32 {
        bits.count_ones()
    }
}

/// Finds out how to count. To be called once, before it matters.
pub fn look_at_processor() {
    arch::look_at_processor();
}

/// The number of bits that are set.
#[inline(always)]
pub fn count(bits: u64) -> u32 {
    arch::count(bits)
}
