//! What the marker needs to know of a heap.

use crate::filter::AddressRange;
use crate::marks::Marks;
use hk_heap::{BlockPlace, Heap};
use hk_os::Os;

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first byte: a multiple of 16.
    pub start: usize,
    /// Its size in bytes.
    pub bytes: usize,
    /// Which it is, below [`Blocks::number_limit`].
    pub number: usize,
}

/// A block that may be live, found in two steps, so that memory for the second can be asked for between them.
pub trait Place: Copy {
    /// The block.
    fn block(&self) -> Block;

    /// Asks the processor for what [`Place::is_live`] is going to read.
    fn prefetch(&self) {}

    /// Whether it is live.
    fn is_live(&self) -> bool;

    /// Another block that the address leads to: the one that it is right behind.
    #[inline(always)]
    fn before(&self) -> Option<Block> {
        None
    }
}

/// The blocks of a heap while it does not change.
pub trait Blocks {
    /// Where a block is.
    type Place: Place;

    /// All blocks lie in here.
    fn range(&self) -> AddressRange;

    /// All blocks have numbers below this.
    fn number_limit(&self) -> usize;

    /// Leaves out words that lead to nothing that is not marked yet, as far as that can be told faster than by [`Blocks::locate`].
    #[inline(always)]
    fn sift<'w>(&self, _marks: &Marks<'_>, words: &'w mut [usize]) -> &'w [usize] {
        words
    }

    /// Asks the processor for what [`Blocks::locate`] is going to read.
    fn prefetch(&self, _address: usize) {}

    /// The block whose first byte or whose inside an address is.
    fn locate(&self, address: usize) -> Option<Self::Place>;

    /// The same if it is live.
    fn block_at(&self, address: usize) -> Option<Block> {
        self.locate(address).filter(Place::is_live).map(|place| place.block())
    }

    /// Calls `read` with the parts of a block that can be read: start and bytes.
    fn for_each_part(&self, start: usize, bytes: usize, read: &mut dyn FnMut(usize, usize)) {
        read(start, bytes);
    }

    /// Calls `found` with each live block, in the order of addresses.
    fn for_each(&self, found: &mut dyn FnMut(Block));
}

/// Blocks that can be gone through both ways.
pub trait OrderedBlocks: Blocks {
    /// [`Blocks::for_each`] in the opposite order.
    fn for_each_backwards(&self, found: &mut dyn FnMut(Block));
}

impl Place for BlockPlace {
    #[inline(always)]
    fn block(&self) -> Block {
        Block { start: self.start, bytes: self.bytes, number: self.number }
    }

    #[inline(always)]
    fn prefetch(&self) {
        BlockPlace::prefetch(self);
    }

    #[inline(always)]
    fn is_live(&self) -> bool {
        BlockPlace::is_live(self)
    }
}

impl<O: Os> Blocks for Heap<O> {
    type Place = BlockPlace;

    fn range(&self) -> AddressRange {
        let (start, bytes) = self.block_range();
        AddressRange { start, bytes }
    }

    fn number_limit(&self) -> usize {
        self.block_number_limit()
    }

    #[inline]
    fn prefetch(&self, address: usize) {
        self.prefetch_header(address);
    }

    #[inline(always)]
    fn locate(&self, address: usize) -> Option<BlockPlace> {
        self.locate_block(address)
    }

    fn for_each(&self, found: &mut dyn FnMut(Block)) {
        self.for_each_live(|place| found(place.block()));
    }
}

impl<O: Os> OrderedBlocks for Heap<O> {
    fn for_each_backwards(&self, found: &mut dyn FnMut(Block)) {
        self.for_each_live_backwards(|place| found(place.block()));
    }
}
