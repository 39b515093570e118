//! Which blocks were lost, and which only with others.
//!
//! Of the blocks that were not reached, those that no other lost block points at were *lost directly*; what they lead to was lost with them. What is
//! left after that can be reached from a cycle only. A block of each cycle that no other lost block leads to is told; the others were lost with it.
//!
//! Such a block is found without a list of edges: of the trees that a search from the remaining blocks in the order of addresses makes, the root of
//! the last one lies in a component that nothing else leads to; and once what that one leads to is gone, so does the last root that is left
//! (Sharir, "A strong-connectivity algorithm and its applications in data flow analysis", 1981, on the order of finishing).

use crate::blocks::{Block, OrderedBlocks};
use crate::filter::{Filter, Found};
use crate::marker::{Marker, Pending};
use crate::marks::Marks;

/// How a block was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakKind {
    /// Nothing points at it but itself.
    Direct,
    /// It is one of blocks that point at each other in a circle.
    Cycle,
}

/// Blocks that were lost together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// How.
    pub kind: LeakKind,
    /// The block that leads to all others.
    pub block: Block,
    /// How many others were lost with it: each is counted with one leak.
    pub indirect_blocks: u64,
    /// Their bytes.
    pub indirect_bytes: u64,
}

/// Sets of blocks that [`find_leaks`] works with; the first is that of the blocks which were reached, the others are empty.
#[derive(Clone, Copy, Debug)]
pub struct LeakSets<'a> {
    /// Blocks that were reached; when it ends all live ones.
    pub reached: Marks<'a>,
    /// Lost blocks that others point at.
    pub pointed_at: Marks<'a>,
    /// Remaining blocks that the search has come to.
    pub visited: Marks<'a>,
    /// Where it began.
    pub begun: Marks<'a>,
}

/// Calls `found` with each leak; see the module head.
///
/// # Safety
/// All live blocks can be read, and nothing changes meanwhile.
pub unsafe fn find_leaks<B: OrderedBlocks>(
    blocks: &B,
    sets: LeakSets<'_>,
    stack: &mut [Pending],
    mut found: impl FnMut(Leak),
) {
    let filter = Filter::best();
    note_pointed_at(blocks, &sets, filter);
    let mut marker = Marker::new(blocks, sets.reached, stack, filter);
    blocks.for_each(&mut |block| {
        if !sets.pointed_at.contains(block.number) {
            // SAFETY: the caller's word.
            unsafe { tell(&mut marker, LeakKind::Direct, block, &mut found) };
        }
    });
    let mut search = Marker::new(blocks, sets.visited, stack, filter);
    blocks.for_each(&mut |block| {
        // SAFETY: as above.
        if !sets.reached.contains(block.number) && unsafe { search.mark_block(block) } {
            sets.begun.insert(block.number);
        }
    });
    let mut marker = Marker::new(blocks, sets.reached, stack, filter);
    blocks.for_each_backwards(&mut |block| {
        if sets.begun.contains(block.number) {
            // SAFETY: as above.
            unsafe { tell(&mut marker, LeakKind::Cycle, block, &mut found) };
        }
    });
}

/// # Safety
/// All live blocks can be read.
unsafe fn tell<B: OrderedBlocks>(
    marker: &mut Marker<'_, B>,
    kind: LeakKind,
    block: Block,
    found: &mut impl FnMut(Leak),
) {
    let (blocks_before, bytes_before) = marker.marked();
    // SAFETY: the caller's word.
    if !unsafe { marker.mark_block(block) } {
        return;
    }
    let (blocks, bytes) = marker.marked();
    let (indirect_blocks, indirect_bytes) =
        (blocks - blocks_before - 1, bytes - bytes_before - block.bytes as u64);
    found(Leak { kind, block, indirect_blocks, indirect_bytes });
}

/// A block that points at itself alone was lost directly.
fn note_pointed_at<B: OrderedBlocks>(blocks: &B, sets: &LeakSets<'_>, filter: Filter) {
    let range = blocks.range();
    let mut pointers = Found::new();
    blocks.for_each(&mut |block| {
        if sets.reached.contains(block.number) {
            return;
        }
        let mut note = |words: &mut [usize]| {
            for other in words.iter().filter_map(|&word| blocks.block_at(word)) {
                if other.start != block.start {
                    sets.pointed_at.insert(other.number);
                }
            }
        };
        blocks.for_each_part(block.start, block.bytes, &mut |start, bytes| {
            // SAFETY: a live block, less what can't be read.
            unsafe { filter.find(start, bytes, range, &mut pointers, &mut note) };
        });
        pointers.give(&mut note);
    });
}
