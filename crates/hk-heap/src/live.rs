//! The live blocks: which one an address lies in, and each in turn. For scans, while nothing changes.

use crate::heap::Heap;
use crate::size_class::SLICE_BYTES;
use crate::span::{InSpan, SliceState, SpanShape};
use crate::word::BLOCKS_PER_WORD;
use core::sync::atomic::Ordering;
use hk_os::Os;

impl<O: Os> Heap<O> {
    /// Where blocks lie: the first address, and how many bytes from there on. Guarded blocks lie elsewhere.
    pub fn block_range(&self) -> (usize, usize) {
        if !self.is_started() {
            return (0, 0);
        }
        (self.tables().slice_start(0).addr().get(), self.slices.top() * SLICE_BYTES)
    }

    /// Asks the processor for the header that tells which block an address lies in.
    #[inline]
    pub fn prefetch_header(&self, address: usize) {
        if let Some(offset) = self.offset_of(address) {
            let headers = self.tables().header_table();
            prefetch(headers.wrapping_add(offset / SLICE_BYTES).cast());
        }
    }

    /// The live block in which an address lies, its start or inside: its first byte and its size.
    #[inline]
    pub fn live_block_at(&self, address: usize) -> Option<(usize, usize)> {
        let slice = self.offset_of(address)? / SLICE_BYTES;
        let tables = self.tables();
        let mut shape = tables.header(slice).shape()?;
        if shape.state == SliceState::Interior {
            shape = tables.header(slice.checked_sub(shape.slices as usize)?).shape()?;
        }
        if !matches!(shape.state, SliceState::Small | SliceState::Large) {
            return None;
        }
        let (InSpan::Start(index) | InSpan::Inside(index)) = shape.locate(address) else { return None };
        // SAFETY: a block of the span, whose state is one that has words.
        let word = unsafe { shape.word_of(index) };
        let is_live = word.live() >> (index % BLOCKS_PER_WORD) & 1 != 0;
        is_live.then(|| (shape.block_start(index), shape.block_bytes))
    }

    /// Calls `found` with each live block, its first byte and its size, in the order of addresses.
    pub fn for_each_live(&self, mut found: impl FnMut(usize, usize)) {
        let mut slice = 0;
        while slice < self.block_range().1 / SLICE_BYTES {
            let header = self.tables().header(slice);
            match header.shape() {
                Some(shape) if matches!(shape.state, SliceState::Small | SliceState::Large) => {
                    for nth in 0..word_count(&shape) {
                        let mut live = live_of(&shape, nth);
                        while live != 0 {
                            let index = nth * BLOCKS_PER_WORD + live.trailing_zeros() as usize;
                            live &= live - 1;
                            found(shape.block_start(index), shape.block_bytes);
                        }
                    }
                    slice += header.slices.load(Ordering::Relaxed).max(1) as usize;
                }
                _ => slice += 1,
            }
        }
    }

    /// The same in the opposite order.
    pub fn for_each_live_backwards(&self, mut found: impl FnMut(usize, usize)) {
        for slice in (0..self.block_range().1 / SLICE_BYTES).rev() {
            let shape = self.tables().header(slice).shape();
            let is_span = |shape: &SpanShape| matches!(shape.state, SliceState::Small | SliceState::Large);
            let Some(shape) = shape.filter(is_span) else { continue };
            for nth in (0..word_count(&shape)).rev() {
                let mut live = live_of(&shape, nth);
                while live != 0 {
                    let bit = u64::BITS - 1 - live.leading_zeros();
                    live &= !(1 << bit);
                    found(shape.block_start(nth * BLOCKS_PER_WORD + bit as usize), shape.block_bytes);
                }
            }
        }
    }
}

fn word_count(shape: &SpanShape) -> usize {
    shape.block_count.div_ceil(BLOCKS_PER_WORD)
}

fn live_of(shape: &SpanShape, nth: usize) -> u64 {
    // SAFETY: nth is below the word count of the shape, whose state is one that has words.
    unsafe { shape.word_of(nth * BLOCKS_PER_WORD) }.live()
}

#[inline(always)]
fn prefetch(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    let _ = place;
}
