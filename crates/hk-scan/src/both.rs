//! A process's blocks: those of its heap, and those that are guarded.

use crate::blocks::{Block, Blocks, OrderedBlocks, Place};
use crate::filter::AddressRange;
use crate::parts::{Parts, PresentPages};
use hk_guard::{Guards, LiveBlock};
use hk_heap::{BlockPlace, Heap};
use hk_os::{GuardOs, Os};

/// Ordinary blocks come first, in addresses and in numbers: the guards' area lies behind the heap's slices.
#[derive(Clone, Copy)]
pub struct HeapAndGuards<'a, O: Os, G: GuardOs> {
    heap: &'a Heap<O>,
    guards: &'a Guards<G>,
    range: AddressRange,
    heap_numbers: usize,
    parts: Parts<'a>,
}

impl<'a, O: Os, G: GuardOs> HeapAndGuards<'a, O, G> {
    /// As they are now.
    pub fn new(heap: &'a Heap<O>, guards: &'a Guards<G>) -> Self {
        let (start, bytes) = heap.block_range();
        let range = match heap.guard_area().filter(|_| guards.is_started()) {
            Some((area, area_bytes)) => AddressRange { start, bytes: area.addr().get() + area_bytes - start },
            None => AddressRange { start, bytes },
        };
        HeapAndGuards {
            heap,
            guards,
            range,
            heap_numbers: heap.block_number_limit(),
            parts: Parts::default(),
        }
    }

    /// The same where addresses can't be read: first addresses and ends, in order.
    pub fn with_holes(self, holes: &'a [[u64; 2]]) -> Self {
        HeapAndGuards { parts: Parts { holes, ..self.parts }, ..self }
    }

    /// The same where of large blocks only pages that are there are read.
    pub fn with_pages(self, pages: &'a dyn PresentPages) -> Self {
        HeapAndGuards { parts: Parts { pages: Some(pages), ..self.parts }, ..self }
    }

    /// The block that an address is of by the rules of [`Blocks::locate`], live or free, and whether it is live. Free ones are known where they are
    /// guarded, or lie in a span that is in use.
    #[inline]
    pub fn find(&self, address: usize) -> Option<(Block, bool)> {
        match self.locate(address) {
            Some(place) => Some((place.block(), place.is_live())),
            None => self.guards.freed_block_at(address).map(|block| (self.guarded(block), false)),
        }
    }

    /// Calls `found` with each free block that [`HeapAndGuards::find`] may give, in the order of addresses.
    pub fn for_each_free(&self, mut found: impl FnMut(Block)) {
        self.heap.for_each_free(|place| found(Place::block(&place)));
        self.guards.for_each_freed(|block| found(self.guarded(block)));
    }

    fn guarded(&self, block: LiveBlock) -> Block {
        Block { start: block.start, bytes: block.bytes, number: self.heap_numbers + block.number }
    }
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
pub enum PlaceOfEither {
    /// In the heap.
    Heap(BlockPlace),
    /// Guarded, and live.
    Guarded(Block),
}

impl Place for PlaceOfEither {
    #[inline]
    fn block(&self) -> Block {
        match self {
            PlaceOfEither::Heap(place) => Place::block(place),
            PlaceOfEither::Guarded(block) => *block,
        }
    }

    #[inline]
    fn prefetch(&self) {
        if let PlaceOfEither::Heap(place) = self {
            place.prefetch();
        }
    }

    #[inline]
    fn is_live(&self) -> bool {
        match self {
            PlaceOfEither::Heap(place) => place.is_live(),
            PlaceOfEither::Guarded(_) => true,
        }
    }
}

impl<O: Os, G: GuardOs> Blocks for HeapAndGuards<'_, O, G> {
    type Place = PlaceOfEither;

    fn range(&self) -> AddressRange {
        self.range
    }

    fn number_limit(&self) -> usize {
        self.heap_numbers + self.guards.block_number_limit()
    }

    #[inline]
    fn prefetch(&self, address: usize) {
        self.heap.prefetch_header(address);
    }

    #[inline]
    fn locate(&self, address: usize) -> Option<PlaceOfEither> {
        match self.heap.locate_block(address) {
            Some(place) => Some(PlaceOfEither::Heap(place)),
            None => {
                self.guards.live_block_at(address).map(|block| PlaceOfEither::Guarded(self.guarded(block)))
            }
        }
    }

    fn for_each_part(&self, start: usize, bytes: usize, read: &mut dyn FnMut(usize, usize)) {
        self.parts.for_each(start, bytes, read);
    }

    fn for_each(&self, found: &mut dyn FnMut(Block)) {
        self.heap.for_each(found);
        self.guards.for_each_live(|block| found(self.guarded(block)));
    }
}

impl<O: Os, G: GuardOs> OrderedBlocks for HeapAndGuards<'_, O, G> {
    fn for_each_backwards(&self, found: &mut dyn FnMut(Block)) {
        self.guards.for_each_live_backwards(|block| found(self.guarded(block)));
        self.heap.for_each_backwards(found);
    }
}
