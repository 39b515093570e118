//! The live blocks: which one an address lies in, and each in turn. For scans, while no span is made, retired or changed.

use crate::heap::Heap;
use crate::size_class::SLICE_BYTES;
use crate::span::{SliceState, SpanHeader, SpanShape};
use crate::word::{BLOCKS_PER_WORD, Word};
use core::sync::atomic::Ordering;
use hk_os::Os;

/// Blocks up to this size lie in spans of a slice, so that a multiplication tells the block that any address in it is of.
const BY_INVERSE_BYTES_MAX: usize = 1024;

/// Which block an address lies in; it may be free.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlace {
    /// Its first byte.
    pub start: usize,
    /// Its size.
    pub bytes: usize,
    /// Its number among all that there may be: that of its bit.
    pub number: usize,
    is_first: bool,
    word: *const Word,
}

impl BlockPlace {
    /// Asks the processor for what [`BlockPlace::is_live`] is going to read.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(self.word.cast());
    }

    /// The block of the same span that ends where this one begins.
    #[inline(always)]
    pub fn before(&self) -> Option<BlockPlace> {
        if self.is_first {
            return None;
        }
        let word =
            if self.number.is_multiple_of(BLOCKS_PER_WORD) { self.word.wrapping_sub(1) } else { self.word };
        // Whether that one is the first does not matter to who has come from here.
        Some(BlockPlace {
            start: self.start - self.bytes,
            number: self.number - 1,
            is_first: true,
            word,
            ..*self
        })
    }

    /// Whether the block is live.
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        // SAFETY: a word of a span, which are never unmapped, and are only accessed as atomics.
        let word = unsafe { &*self.word };
        word.live() >> (self.number % BLOCKS_PER_WORD) & 1 != 0
    }
}

/// A span, as scans see it.
#[derive(Clone, Copy, Debug)]
pub struct SpanPlace {
    /// Its first slice, counted from where blocks lie ([`Heap::block_range`]).
    pub slice: usize,
    /// How many it has.
    pub slices: usize,
    /// The number of its first block.
    pub first_number: usize,
    /// How many blocks it has.
    pub block_count: usize,
    /// ceil(2^32 / size of a block): times the distance of an address in the first slice from its start, that is the block's index and 32 bits.
    /// Zero if that does not hold.
    pub inverse: u64,
}

impl<O: Os> Heap<O> {
    /// Where blocks lie: the first address, and how many bytes from there on. Guarded blocks lie elsewhere.
    pub fn block_range(&self) -> (usize, usize) {
        if !self.is_started() {
            return (0, 0);
        }
        (self.tables().slice_start(0).addr().get(), self.slices.top() * SLICE_BYTES)
    }

    /// All that is the heap's, guarded blocks and tables too: the first address, and how many bytes from there on.
    pub fn reservation(&self) -> (usize, usize) {
        if !self.is_started() {
            return (0, 0);
        }
        self.tables().reservation()
    }

    /// Asks the processor for the header that tells which block an address lies in.
    #[inline]
    pub fn prefetch_header(&self, address: usize) {
        if let Some(offset) = self.offset_of(address) {
            let headers = self.tables().header_table();
            prefetch(headers.wrapping_add(offset / SLICE_BYTES).cast());
        }
    }

    /// The block in which an address lies, its start or inside.
    #[inline(always)]
    pub fn locate_block(&self, address: usize) -> Option<BlockPlace> {
        let slice = self.offset_of(address)? / SLICE_BYTES;
        let mut header = self.header(slice);
        if header.state() == SliceState::Interior {
            header = self.header(slice.checked_sub(header.slices.load(Ordering::Relaxed) as usize)?);
        }
        // Relaxed: nothing changes meanwhile.
        let (start, bytes) =
            (header.start.load(Ordering::Relaxed), header.block_bytes.load(Ordering::Relaxed));
        let distance = address.wrapping_sub(start);
        let index = match header.state() {
            SliceState::Small => index_of(header, distance, bytes)?,
            SliceState::Large if distance < bytes => 0,
            _ => return None,
        };
        let words = header.words.load(Ordering::Relaxed);
        Some(self.place(start, bytes, words, index))
    }

    /// All numbers of blocks are below this.
    pub fn block_number_limit(&self) -> usize {
        if !self.is_started() {
            return 0;
        }
        self.tables().words.committed() / size_of::<Word>() * BLOCKS_PER_WORD
    }

    #[inline(always)]
    fn place(&self, start: usize, bytes: usize, words: *const Word, index: usize) -> BlockPlace {
        let word = words.wrapping_add(index / BLOCKS_PER_WORD);
        let number = self.word_number(word) * BLOCKS_PER_WORD + index % BLOCKS_PER_WORD;
        BlockPlace { start: start + index * bytes, bytes, number, is_first: index == 0, word }
    }

    /// Calls `found` with each span, in the order of addresses.
    pub fn for_each_span(&self, mut found: impl FnMut(SpanPlace)) {
        let mut slice = 0;
        while slice < self.block_range().1 / SLICE_BYTES {
            let header = self.tables().header(slice);
            let is_span = |shape: &SpanShape| matches!(shape.state, SliceState::Small | SliceState::Large);
            let Some(shape) = header.shape().filter(is_span) else {
                slice += 1;
                continue;
            };
            let is_small = shape.state == SliceState::Small && shape.block_bytes <= BY_INVERSE_BYTES_MAX;
            found(SpanPlace {
                slice,
                slices: shape.slices as usize,
                first_number: self.word_number(shape.words) * BLOCKS_PER_WORD,
                block_count: shape.block_count,
                inverse: if is_small { header.inverse.load(Ordering::Relaxed) } else { 0 },
            });
            slice += (shape.slices as usize).max(1);
        }
    }

    /// Calls `found` with each live block, in the order of addresses.
    pub fn for_each_live(&self, found: impl FnMut(BlockPlace)) {
        self.for_each_of(|shape, nth| word_of(shape, nth).live(), found);
    }

    /// The same with each block that was freed and is retained.
    pub fn for_each_retained(&self, found: impl FnMut(BlockPlace)) {
        self.for_each_of(|shape, nth| word_of(shape, nth).retained(), found);
    }

    /// The same with blocks of spans that are in use, which are not live.
    pub fn for_each_free(&self, found: impl FnMut(BlockPlace)) {
        let free_of = |shape: &SpanShape, nth: usize| {
            let present = (shape.block_count - nth * BLOCKS_PER_WORD).min(BLOCKS_PER_WORD);
            !word_of(shape, nth).live() & (u64::MAX >> (BLOCKS_PER_WORD - present))
        };
        self.for_each_of(free_of, found);
    }

    /// Those whose bits are set in what `bits_of` gives for each word of a span.
    #[inline]
    fn for_each_of(&self, bits_of: impl Fn(&SpanShape, usize) -> u64, mut found: impl FnMut(BlockPlace)) {
        let mut slice = 0;
        while slice < self.block_range().1 / SLICE_BYTES {
            let header = self.tables().header(slice);
            match header.shape() {
                Some(shape) if matches!(shape.state, SliceState::Small | SliceState::Large) => {
                    for nth in 0..word_count(&shape) {
                        let mut bits = bits_of(&shape, nth);
                        while bits != 0 {
                            let index = nth * BLOCKS_PER_WORD + bits.trailing_zeros() as usize;
                            bits &= bits - 1;
                            found(self.place(shape.start, shape.block_bytes, shape.words, index));
                        }
                    }
                    slice += header.slices.load(Ordering::Relaxed).max(1) as usize;
                }
                _ => slice += 1,
            }
        }
    }

    /// The same in the opposite order.
    pub fn for_each_live_backwards(&self, mut found: impl FnMut(BlockPlace)) {
        for slice in (0..self.block_range().1 / SLICE_BYTES).rev() {
            let shape = self.tables().header(slice).shape();
            let is_span = |shape: &SpanShape| matches!(shape.state, SliceState::Small | SliceState::Large);
            let Some(shape) = shape.filter(is_span) else { continue };
            for nth in (0..word_count(&shape)).rev() {
                let mut live = word_of(&shape, nth).live();
                while live != 0 {
                    let bit = u64::BITS - 1 - live.leading_zeros();
                    live &= !(1 << bit);
                    let index = nth * BLOCKS_PER_WORD + bit as usize;
                    found(self.place(shape.start, shape.block_bytes, shape.words, index));
                }
            }
        }
    }
}

/// Which block of a small span lies at a distance from its start.
#[inline(always)]
fn index_of(header: &SpanHeader, distance: usize, bytes: usize) -> Option<usize> {
    let index = if bytes <= BY_INVERSE_BYTES_MAX {
        // Rounded up, by less than 2^-32 for each byte of a distance below 2^16: never up to the next block, of which 2^-10 is missing at least.
        (distance as u64).wrapping_mul(header.inverse.load(Ordering::Relaxed)) as usize >> 32
    } else {
        distance / bytes
    };
    (index < header.block_count.load(Ordering::Relaxed) as usize).then_some(index)
}

fn word_count(shape: &SpanShape) -> usize {
    shape.block_count.div_ceil(BLOCKS_PER_WORD)
}

fn word_of<'a>(shape: &SpanShape, nth: usize) -> &'a Word {
    // SAFETY: nth is below the word count of the shape, whose state is one that has words.
    unsafe { shape.word_of(nth * BLOCKS_PER_WORD) }
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
