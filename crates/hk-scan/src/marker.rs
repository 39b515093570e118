//! Reaches blocks from words.
//!
//! Blocks that were reached and not read yet wait on a stack of bounded size. If it is full, a block that is reached is marked and left, and the
//! addresses of all that were left are noted as one range; once the stack is empty, all marked blocks of that range are read again. That ends, as
//! each such round has marked blocks that were not before, and costs no memory however deep or wide the graph is.

use crate::blocks::{Block, Blocks, Place};
use crate::filter::{BATCH, Filter, GROUP};
use crate::marks::Marks;
use core::mem::MaybeUninit;

/// Memory that is still to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pending {
    start: usize,
    bytes: usize,
}

/// Marked blocks that were not read.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    first: usize,
    last: usize,
}

/// Marks what words lead to, and calls `new` with each block that was not marked before. What each step reads is asked for a step before, for
/// all words.
#[inline(always)]
fn reach<B: Blocks>(blocks: &B, marks: &Marks<'_>, words: &[usize], mut new: impl FnMut(Block)) {
    let mut places = [const { MaybeUninit::uninit() }; BATCH + GROUP];
    let mut count = 0;
    words.iter().for_each(|&word| blocks.prefetch(word));
    for place in words.iter().filter_map(|&word| blocks.locate(word)) {
        place.prefetch();
        marks.prefetch(place.block().number);
        places[count].write(place);
        count += 1;
    }
    for place in &places[..count] {
        // SAFETY: so many were written.
        let place: B::Place = unsafe { place.assume_init() };
        let block = place.block();
        if place.is_live() && marks.insert(block.number) {
            new(block);
        }
        if let Some(before) = place.before()
            && marks.insert(before.number)
        {
            new(before);
        }
    }
}

/// Marks the blocks that the words of a piece of memory lead to, and does not follow them: for sweeps in which every live block is a root.
///
/// # Safety
/// The memory can be read.
pub unsafe fn mark_shallowly<B: Blocks>(
    blocks: &B,
    marks: &Marks<'_>,
    filter: Filter,
    start: usize,
    bytes: usize,
) {
    // SAFETY: the caller's word.
    unsafe { filter.find(start, bytes, blocks.range(), |words| reach(blocks, marks, words, |_| {})) };
}

/// See the module head.
pub struct Marker<'a, B: Blocks> {
    blocks: &'a B,
    marks: Marks<'a>,
    stack: &'a mut [Pending],
    depth: usize,
    left_out: Option<LeftOut>,
    filter: Filter,
    marked_blocks: u64,
    marked_bytes: u64,
}

impl<'a, B: Blocks> Marker<'a, B> {
    /// A marker that adds what it reaches to `marks`. The stack may be of any size but 0; some thousand entries do.
    ///
    /// # Panics
    /// If the stack has no room.
    pub fn new(blocks: &'a B, marks: Marks<'a>, stack: &'a mut [Pending], filter: Filter) -> Self {
        assert!(!stack.is_empty(), "a stack with room");
        Marker { blocks, marks, stack, depth: 0, left_out: None, filter, marked_blocks: 0, marked_bytes: 0 }
    }

    /// Blocks that were marked so far, and their bytes.
    pub fn marked(&self) -> (u64, u64) {
        (self.marked_blocks, self.marked_bytes)
    }

    /// Marks what the words of a piece of memory lead to, and what that leads to.
    ///
    /// # Safety
    /// The memory, and all live blocks, can be read.
    pub unsafe fn mark_from(&mut self, start: usize, bytes: usize) {
        // SAFETY: the caller's word.
        unsafe { self.read(start, bytes) };
        // SAFETY: as above.
        unsafe { self.finish() };
    }

    /// Marks a block, and what it leads to. False if it was marked already.
    ///
    /// # Safety
    /// All live blocks can be read.
    pub unsafe fn mark_block(&mut self, block: Block) -> bool {
        if !self.marks.insert(block.number) {
            return false;
        }
        self.note(block);
        // SAFETY: the caller's word.
        unsafe { self.finish() };
        true
    }

    /// # Safety
    /// The memory can be read.
    unsafe fn read(&mut self, start: usize, bytes: usize) {
        let (filter, blocks, marks) = (self.filter, self.blocks, self.marks);
        // SAFETY: the caller's word.
        unsafe {
            filter.find(start, bytes, blocks.range(), |words| {
                reach(blocks, &marks, words, |block| self.note(block));
            });
        }
    }

    /// # Safety
    /// What of the block is no hole can be read.
    unsafe fn read_block(&mut self, start: usize, bytes: usize) {
        let blocks = self.blocks;
        blocks.for_each_part(start, bytes, &mut |start, bytes| {
            // SAFETY: the caller's word.
            unsafe { self.read(start, bytes) };
        });
    }

    /// A block was marked just now.
    fn note(&mut self, block: Block) {
        self.marked_blocks += 1;
        self.marked_bytes += block.bytes as u64;
        let Some(place) = self.stack.get_mut(self.depth) else {
            let left_out = self.left_out.get_or_insert(LeftOut { first: block.start, last: block.start });
            left_out.first = left_out.first.min(block.start);
            left_out.last = left_out.last.max(block.start);
            return;
        };
        *place = Pending { start: block.start, bytes: block.bytes };
        self.depth += 1;
    }

    /// # Safety
    /// All live blocks can be read.
    unsafe fn finish(&mut self) {
        loop {
            while let Some(depth) = self.depth.checked_sub(1) {
                self.depth = depth;
                let Pending { start, bytes } = self.stack[depth];
                // SAFETY: a live block; the caller's word.
                unsafe { self.read_block(start, bytes) };
            }
            let Some(LeftOut { first, last }) = self.left_out.take() else { return };
            let blocks = self.blocks;
            blocks.for_each(&mut |block| {
                if (first..=last).contains(&block.start) && self.marks.contains(block.number) {
                    // SAFETY: as above.
                    unsafe { self.read_block(block.start, block.bytes) };
                }
            });
        }
    }
}
