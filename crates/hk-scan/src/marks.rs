//! A bit for each block that there may be.
//!
//! Blocks are known by their numbers, which lie as close together as the heap's own bits: a bit for each sixteen bytes would be spread over
//! many times the memory, and a miss of the cache for each block that is reached.

use core::sync::atomic::{AtomicU64, Ordering};

const BITS: usize = u64::BITS as usize;

/// A set of blocks.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a>(&'a [AtomicU64]);

impl<'a> Marks<'a> {
    /// How many words [`Marks::new`] wants for so many numbers.
    pub const fn words_needed(numbers: usize) -> usize {
        numbers.div_ceil(BITS)
    }

    /// The set whose bits these words are: the empty one if they are zero. Only those of blocks that are in the set are ever written to.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Marks(words)
    }

    /// Asks the processor for a block's bit.
    #[inline(always)]
    pub fn prefetch(&self, number: usize) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.0.as_ptr().wrapping_add(number / BITS).cast()) };
        }
        let _ = number;
    }

    /// Whether a block is in the set.
    #[inline(always)]
    pub fn contains(&self, number: usize) -> bool {
        // Relaxed everywhere: one thread marks at a time.
        self.0[number / BITS].load(Ordering::Relaxed) >> (number % BITS) & 1 != 0
    }

    /// Whether a block is in the set, or has no place there.
    #[inline(always)]
    pub fn has_or_lacks_room(&self, number: usize) -> bool {
        self.0.get(number / BITS).is_none_or(|word| word.load(Ordering::Relaxed) >> (number % BITS) & 1 != 0)
    }

    /// Whether one of some blocks is not in the set. They begin and end with words of it.
    pub fn misses_some(&self, numbers: core::ops::Range<usize>) -> bool {
        let words = numbers.start / BITS..numbers.end.div_ceil(BITS);
        let words = self.0.get(words.start..words.end.min(self.0.len())).unwrap_or_default();
        words.iter().any(|word| word.load(Ordering::Relaxed) != !0)
    }

    /// Adds a block; false if it is there already.
    #[inline(always)]
    pub fn insert(&self, number: usize) -> bool {
        let (word, bit) = (&self.0[number / BITS], 1 << (number % BITS));
        let before = word.load(Ordering::Relaxed);
        if before & bit == 0 {
            word.store(before | bit, Ordering::Relaxed);
        }
        before & bit == 0
    }
}
