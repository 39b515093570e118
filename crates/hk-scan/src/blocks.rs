//! What the marker needs to know of a heap.

use crate::filter::AddressRange;
use hk_heap::Heap;
use hk_os::Os;

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first byte: a multiple of 16.
    pub start: usize,
    /// Its size in bytes.
    pub bytes: usize,
}

/// The blocks of a heap while it does not change.
pub trait Blocks {
    /// All blocks lie in here.
    fn range(&self) -> AddressRange;

    /// Asks the processor for what [`Blocks::block_at`] is going to read.
    fn prefetch(&self, _address: usize) {}

    /// The live block whose first byte or whose inside an address is.
    fn block_at(&self, address: usize) -> Option<Block>;

    /// Calls `found` with each live block, in the order of addresses.
    fn for_each(&self, found: &mut dyn FnMut(Block));

    /// The same in the opposite order.
    fn for_each_backwards(&self, found: &mut dyn FnMut(Block));
}

impl<O: Os> Blocks for Heap<O> {
    fn range(&self) -> AddressRange {
        let (start, bytes) = self.block_range();
        AddressRange { start, bytes }
    }

    #[inline]
    fn prefetch(&self, address: usize) {
        self.prefetch_header(address);
    }

    #[inline]
    fn block_at(&self, address: usize) -> Option<Block> {
        self.live_block_at(address).map(|(start, bytes)| Block { start, bytes })
    }

    fn for_each(&self, found: &mut dyn FnMut(Block)) {
        self.for_each_live(|start, bytes| found(Block { start, bytes }));
    }

    fn for_each_backwards(&self, found: &mut dyn FnMut(Block)) {
        self.for_each_live_backwards(|start, bytes| found(Block { start, bytes }));
    }
}
