//! A bit for each place where a block may begin.

use crate::filter::AddressRange;
use core::sync::atomic::{AtomicU64, Ordering};

/// Blocks begin at multiples of this.
const GRAIN_BYTES: usize = 16;
const BITS: usize = u64::BITS as usize;

/// A set of blocks, by their first bytes.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    range: AddressRange,
    words: &'a [AtomicU64],
}

impl<'a> Marks<'a> {
    /// How many words [`Marks::new`] wants for a range. Only those of blocks that are in the set are ever written to.
    pub const fn words_needed(range: AddressRange) -> usize {
        range.bytes.div_ceil(GRAIN_BYTES * BITS)
    }

    /// The empty set.
    ///
    /// # Panics
    /// If there are too few words.
    pub fn new(range: AddressRange, words: &'a [AtomicU64]) -> Self {
        assert!(words.len() >= Self::words_needed(range), "words for all of the range");
        Marks { range, words }
    }

    #[inline(always)]
    fn place(&self, start: usize) -> (&AtomicU64, u64) {
        let grain = start.wrapping_sub(self.range.start) / GRAIN_BYTES;
        (&self.words[grain / BITS], 1 << (grain % BITS))
    }

    /// Asks the processor for a block's bit.
    #[inline(always)]
    pub fn prefetch(&self, start: usize) {
        prefetch(self.place(start).0);
    }

    /// Whether a block is in the set.
    #[inline(always)]
    pub fn contains(&self, start: usize) -> bool {
        let (word, bit) = self.place(start);
        // Relaxed everywhere: one thread marks at a time.
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Adds a block; false if it is there already.
    #[inline(always)]
    pub fn insert(&self, start: usize) -> bool {
        let (word, bit) = self.place(start);
        let before = word.load(Ordering::Relaxed);
        if before & bit == 0 {
            word.store(before | bit, Ordering::Relaxed);
        }
        before & bit == 0
    }
}

#[inline(always)]
fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; the address is one of our own.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(word).cast()) };
    }
    let _ = word;
}
