//! The blocks in quarantine, as a sweep sees them: every word of live memory that leads to one keeps it there, and what lies in one that is kept
//! keeps others.
//!
//! The set that is marked is begun with all blocks but those that are swept ([`hk_heap::Heap::note_retained`]). So one look at a bit tells that
//! a block is not swept, or was met before. The heap may change meanwhile: but never the spans of retained blocks.

use crate::blocks::{Block, Blocks, Place};
use crate::filter::AddressRange;
use hk_heap::{BlockPlace, Heap};
use hk_os::Os;

/// See the module head.
pub struct RetainedBlocks<'a, O: Os> {
    heap: &'a Heap<O>,
    range: AddressRange,
    number_limit: usize,
    holes: &'a [[u64; 2]],
}

impl<'a, O: Os> RetainedBlocks<'a, O> {
    /// Those of a heap, of which the set has room for `number_limit`. Addresses in `holes` can't be read: first addresses and ends, in order.
    pub fn new(heap: &'a Heap<O>, number_limit: usize, holes: &'a [[u64; 2]]) -> Self {
        let (start, bytes) = heap.block_range();
        RetainedBlocks { heap, range: AddressRange { start, bytes }, number_limit, holes }
    }
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
pub struct RetainedPlace {
    place: BlockPlace,
    /// The address is that of the block's first byte.
    is_start: bool,
}

impl Place for RetainedPlace {
    #[inline(always)]
    fn block(&self) -> Block {
        Place::block(&self.place)
    }

    #[inline(always)]
    fn is_live(&self) -> bool {
        true
    }

    /// A pointer right past the end of a block that fills its place leads to the next one.
    #[inline(always)]
    fn before(&self) -> Option<Block> {
        if !self.is_start {
            return None;
        }
        self.place.before().map(|place| Place::block(&place))
    }
}

impl<O: Os> Blocks for RetainedBlocks<'_, O> {
    type Place = RetainedPlace;

    fn range(&self) -> AddressRange {
        self.range
    }

    fn number_limit(&self) -> usize {
        self.number_limit
    }

    #[inline]
    fn prefetch(&self, address: usize) {
        self.heap.prefetch_header(address);
    }

    #[inline(always)]
    fn locate(&self, address: usize) -> Option<RetainedPlace> {
        let place = self.heap.locate_block(address).filter(|place| place.number < self.number_limit)?;
        Some(RetainedPlace { place, is_start: address == place.start })
    }

    fn for_each_part(&self, start: usize, bytes: usize, read: &mut dyn FnMut(usize, usize)) {
        crate::both::without_holes(self.holes, start, bytes, read);
    }

    fn for_each(&self, found: &mut dyn FnMut(Block)) {
        self.heap.for_each_retained(|place| found(Place::block(&place)));
    }
}
