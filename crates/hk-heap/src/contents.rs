//! What the heap's memory is used for: areas, and spans block by block. For whoever accounts for it, while nothing changes.

use crate::heap::Heap;
use crate::size_class::SLICE_BYTES;
use crate::span::{SliceState, SpanShape};
use crate::word::BLOCKS_PER_WORD;
use hk_os::Os;

/// What a part of the reservation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Headers, words, groups and thread heaps.
    Tables,
    /// Slices: spans, in use and free.
    Blocks,
    /// Guarded blocks.
    Guards,
}

/// What 64 blocks of a span are, one bit each. A block in none of the sets is free, or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSets {
    /// Live.
    pub live: u64,
    /// Freed, and retained.
    pub retained: u64,
    /// Free, and exposed to the thread that has the span.
    pub available: u64,
}

/// A span that is in use.
#[derive(Clone, Copy, Debug)]
pub struct SpanContents(SpanShape);

impl SpanContents {
    /// Its first address, which is its first block's.
    pub fn start(&self) -> usize {
        self.0.start
    }

    /// Its size, with what blocks leave of it.
    pub fn bytes(&self) -> usize {
        self.0.slices as usize * SLICE_BYTES
    }

    /// Size of a block.
    pub fn block_bytes(&self) -> usize {
        self.0.block_bytes
    }

    /// Blocks.
    pub fn block_count(&self) -> usize {
        self.0.block_count
    }

    /// What its blocks are, 64 at a time.
    pub fn sets(&self) -> impl ExactSizeIterator<Item = BlockSets> {
        let shape = self.0;
        (0..shape.block_count.div_ceil(BLOCKS_PER_WORD)).map(move |nth| {
            // SAFETY: nth is below the word count of the shape, whose state is one that has words.
            let word = unsafe { shape.word_of(nth * BLOCKS_PER_WORD) };
            BlockSets { live: word.live(), retained: word.retained(), available: word.available() }
        })
    }
}

impl<O: Os> Heap<O> {
    /// Calls `found` with each part of the reservation: what it is for, its first address and its bytes.
    pub fn for_each_area(&self, mut found: impl FnMut(Area, usize, usize)) {
        if self.is_started() {
            self.tables().for_each_part(&mut found);
        }
    }

    /// Calls `found` with each span that is in use, in the order of addresses.
    pub fn for_each_span_contents(&self, mut found: impl FnMut(SpanContents)) {
        let mut slice = 0;
        while slice < self.block_range().1 / SLICE_BYTES {
            let shape = self.tables().header(slice).shape();
            let is_span = |shape: &SpanShape| matches!(shape.state, SliceState::Small | SliceState::Large);
            slice += match shape.filter(is_span) {
                Some(shape) => {
                    found(SpanContents(shape));
                    (shape.slices as usize).max(1)
                }
                None => 1,
            };
        }
    }
}
