//! The blocks in quarantine, as a sweep sees them: every word of live memory that leads to one keeps it there, and what lies in one that is kept
//! keeps others.
//!
//! The set that is marked is begun with all blocks but those that are swept ([`hk_heap::Heap::note_retained`]). So one look at a bit tells that
//! a block is not swept, or was met before. The heap may change meanwhile: but never the spans of retained blocks.

use crate::blocks::{Block, Blocks, Place};
use crate::filter::{AddressRange, BATCH, GROUP};
use crate::marks::Marks;
use crate::parts::{Parts, PresentPages};
use core::mem::MaybeUninit;
use hk_heap::{BlockPlace, Heap, SLICE_BYTES};
use hk_os::Os;

/// What a sweep has to know of a slice, in one small piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SliceEntry {
    /// The number of the slice's first block.
    first: u64,
    /// ceil(2^32 / size) of its blocks; or one of the two below.
    inverse: u32,
    reserved: u32,
}

/// No block in it is swept.
const NOTHING: u32 = 0;
/// An address in it has to be looked at by [`Heap::locate_block`]: blocks go on from slice to slice. No inverse is as large.
const BY_HEADER: u32 = u32::MAX;

/// Fills the entries of a heap's slices. What has none, as there are too few, is looked at by its header.
pub fn index_slices<O: Os>(heap: &Heap<O>, marks: &Marks<'_>, entries: &mut [SliceEntry]) {
    heap.for_each_span(|span| {
        let numbers = span.first_number..span.first_number + span.block_count;
        let inverse = match () {
            () if !marks.misses_some(numbers) => NOTHING,
            () if span.slices == 1 && (1..u64::from(BY_HEADER)).contains(&span.inverse) => {
                span.inverse as u32
            }
            () => BY_HEADER,
        };
        let end = (span.slice + span.slices).min(entries.len());
        for entry in entries.get_mut(span.slice..end).unwrap_or_default() {
            *entry = SliceEntry { first: span.first_number as u64, inverse, reserved: 0 };
        }
    });
}

/// See the module head.
pub struct RetainedBlocks<'a, O: Os> {
    heap: &'a Heap<O>,
    range: AddressRange,
    number_limit: usize,
    parts: Parts<'a>,
    entries: &'a [SliceEntry],
}

impl<'a, O: Os> RetainedBlocks<'a, O> {
    /// Those of a heap, of which the set has room for `number_limit`. Addresses in `holes` can't be read: first addresses and ends, in order.
    pub fn new(
        heap: &'a Heap<O>,
        number_limit: usize,
        holes: &'a [[u64; 2]],
        entries: &'a [SliceEntry],
    ) -> Self {
        let (start, bytes) = heap.block_range();
        RetainedBlocks {
            heap,
            range: AddressRange { start, bytes },
            number_limit,
            parts: Parts { holes, pages: None },
            entries,
        }
    }

    /// The same where of large blocks only pages that are there are read.
    pub fn with_pages(self, pages: &'a dyn PresentPages) -> Self {
        RetainedBlocks { parts: Parts { pages: Some(pages), ..self.parts }, ..self }
    }

    /// The block that an address leads to, by its number, and whether it is the block's first byte. None if that is not known here.
    #[inline(always)]
    fn quick(&self, address: usize) -> Option<Quick> {
        let offset = address - self.range.start;
        let entry = self.entries.get(offset / SLICE_BYTES)?;
        match entry.inverse {
            NOTHING => Some(Quick { number: NO_NUMBER, is_start: false }),
            BY_HEADER => None,
            inverse => {
                let product = (offset % SLICE_BYTES) as u64 * u64::from(inverse);
                let number = entry.first + (product >> 32);
                // What is left over is index times less than the size at a block's start, and an inverse at least one byte further on.
                Some(Quick { number: number as usize, is_start: (product as u32) < inverse })
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Quick {
    number: usize,
    is_start: bool,
}

/// Of no block that is swept.
const NO_NUMBER: usize = usize::MAX;

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

    #[inline(always)]
    fn sift<'w>(&self, marks: &Marks<'_>, words: &'w mut [usize]) -> &'w [usize] {
        let mut quick = [const { MaybeUninit::<Option<Quick>>::uninit() }; BATCH + GROUP];
        for (place, &word) in quick.iter_mut().zip(words.iter()) {
            let found = self.quick(word);
            if let Some(Quick { number, .. }) = found.filter(|quick| quick.number != NO_NUMBER) {
                marks.prefetch(number);
            }
            place.write(found);
        }
        let mut count = 0;
        for nth in 0..words.len() {
            // SAFETY: as many were written as there are words.
            let found = unsafe { quick[nth].assume_init() };
            let is_marked = found.is_some_and(|Quick { number, is_start }| {
                number == NO_NUMBER
                    || marks.has_or_lacks_room(number)
                        && (!is_start || number == 0 || marks.has_or_lacks_room(number - 1))
            });
            if !is_marked {
                words[count] = words[nth];
                count += 1;
            }
        }
        &words[..count]
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
        self.parts.for_each(start, bytes, read);
    }

    fn for_each(&self, found: &mut dyn FnMut(Block)) {
        self.heap.for_each_retained(|place| found(Place::block(&place)));
    }
}
