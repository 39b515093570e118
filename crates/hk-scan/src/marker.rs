//! Reaches blocks from words.
//!
//! Blocks that were reached and not read yet wait on a stack of bounded size. If it is full, a block that is reached is marked and left, and the
//! addresses of all that were left are noted as one range; once the stack is empty, all marked blocks of that range are read again. That ends, as
//! each such round has marked blocks that were not before, and costs no memory however deep or wide the graph is.

use crate::blocks::{Block, Blocks, Place};
use crate::filter::{BATCH, Filter, Found, GROUP};
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
fn reach<B: Blocks>(blocks: &B, marks: &Marks<'_>, words: &mut [usize], mut new: impl FnMut(Block)) {
    let words = blocks.sift(marks, words);
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
    let mut found = Found::new();
    let mut give = |words: &mut [usize]| reach(blocks, marks, words, |_| {});
    // SAFETY: the caller's word.
    unsafe { filter.find(start, bytes, blocks.range(), &mut found, &mut give) };
    found.give(&mut give);
}

/// See the module head.
pub struct Marker<'a, B: Blocks> {
    blocks: &'a B,
    marks: Marks<'a>,
    filter: Filter,
    found: Found,
    reached: Reached<'a>,
}

/// Blocks that were reached and not read yet.
struct Reached<'a> {
    stack: &'a mut [Pending],
    depth: usize,
    left_out: Option<LeftOut>,
    blocks: u64,
    bytes: u64,
}

impl<'a, B: Blocks> Marker<'a, B> {
    /// A marker that adds what it reaches to `marks`. The stack may be of any size but 0; some thousand entries do.
    ///
    /// # Panics
    /// If the stack has no room.
    pub fn new(blocks: &'a B, marks: Marks<'a>, stack: &'a mut [Pending], filter: Filter) -> Self {
        assert!(!stack.is_empty(), "a stack with room");
        let reached = Reached { stack, depth: 0, left_out: None, blocks: 0, bytes: 0 };
        Marker { blocks, marks, filter, found: Found::new(), reached }
    }

    /// Blocks that were marked so far, and their bytes.
    pub fn marked(&self) -> (u64, u64) {
        (self.reached.blocks, self.reached.bytes)
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

    /// Begins to: what it finds may be looked after by a later call, or by [`Marker::finish`]. For many small pieces.
    ///
    /// # Safety
    /// As for [`Marker::mark_from`].
    pub unsafe fn begin_from(&mut self, start: usize, bytes: usize) {
        // SAFETY: the caller's word.
        unsafe { self.read(start, bytes) };
        if self.reached.depth > self.reached.stack.len() / 2 {
            // SAFETY: as above.
            unsafe { self.finish() };
        }
    }

    /// The same with memory of blocks, less what of it can't be read.
    ///
    /// # Safety
    /// What of the heap's memory is no hole can be read.
    pub unsafe fn begin_from_blocks(&mut self, start: usize, bytes: usize) {
        let blocks = self.blocks;
        blocks.for_each_part(start, bytes, &mut |start, bytes| {
            // SAFETY: the caller's word.
            unsafe { self.begin_from(start, bytes) };
        });
    }

    /// Marks a block, and what it leads to. False if it was marked already.
    ///
    /// # Safety
    /// All live blocks can be read.
    pub unsafe fn mark_block(&mut self, block: Block) -> bool {
        if !self.marks.insert(block.number) {
            return false;
        }
        self.reached.note(block);
        // SAFETY: the caller's word.
        unsafe { self.finish() };
        true
    }

    /// # Safety
    /// The memory can be read.
    unsafe fn read(&mut self, start: usize, bytes: usize) {
        let Marker { blocks, marks, filter, found, reached } = self;
        let mut give = |words: &mut [usize]| reach(*blocks, marks, words, |block| reached.note(block));
        // SAFETY: the caller's word.
        unsafe { filter.find(start, bytes, blocks.range(), found, &mut give) };
    }

    /// Looks after all that was found.
    fn reach_found(&mut self) {
        let Marker { blocks, marks, found, reached, .. } = self;
        found.give(&mut |words: &mut [usize]| reach(*blocks, marks, words, |block| reached.note(block)));
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

    /// Marks what all that was found leads to.
    ///
    /// # Safety
    /// All live blocks can be read.
    pub unsafe fn finish(&mut self) {
        loop {
            self.reach_found();
            while let Some(Pending { start, bytes }) = self.reached.take() {
                // SAFETY: a live block; the caller's word.
                unsafe { self.read_block(start, bytes) };
                if self.reached.depth == 0 {
                    self.reach_found();
                }
            }
            let Some(LeftOut { first, last }) = self.reached.left_out.take() else { return };
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

impl Reached<'_> {
    /// A block was marked just now.
    fn note(&mut self, block: Block) {
        self.blocks += 1;
        self.bytes += block.bytes as u64;
        let Some(place) = self.stack.get_mut(self.depth) else {
            let left_out = self.left_out.get_or_insert(LeftOut { first: block.start, last: block.start });
            left_out.first = left_out.first.min(block.start);
            left_out.last = left_out.last.max(block.start);
            return;
        };
        *place = Pending { start: block.start, bytes: block.bytes };
        self.depth += 1;
    }

    fn take(&mut self) -> Option<Pending> {
        self.depth = self.depth.checked_sub(1)?;
        Some(self.stack[self.depth])
    }
}
