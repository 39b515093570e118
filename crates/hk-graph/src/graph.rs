//! Blocks and the pointers between them.

use std::ops::Range;

/// Blocks are looked up by the piece of memory that they begin in: of 64 KiB, as the heap's slices are, most of which hold blocks of one size.
const PIECE_BITS: u32 = 16;

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First address.
    pub start: u64,
    /// Size in bytes, as the heap rounded it.
    pub bytes: u64,
}

/// Blocks, numbered from 0 in the order of their addresses, and the pointers that each holds.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    starts: Vec<u64>,
    bytes: Vec<u64>,
    /// Each piece of memory that blocks begin in, with the first of them.
    pieces: Vec<(u64, u32)>,
    /// Where the pointers of each block begin, and, at last, where all end.
    first: Vec<u32>,
    targets: Vec<u32>,
    words: Vec<u32>,
}

impl Graph {
    /// `starts` ascend; `first` is one longer, `targets` and `words` are as long as its last says.
    pub(crate) fn new(blocks: Blocks, first: Vec<u32>, targets: Vec<u32>, words: Vec<u32>) -> Graph {
        let Blocks { starts, bytes, pieces } = blocks;
        assert_eq!(first.len(), starts.len() + 1);
        assert_eq!((targets.len(), words.len()), (first[starts.len()] as usize, targets.len()));
        Graph { starts, bytes, pieces, first, targets, words }
    }

    /// How many blocks.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many pointers.
    pub fn pointer_count(&self) -> usize {
        self.targets.len()
    }

    /// A block.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn block(&self, number: u32) -> Block {
        Block { start: self.starts[number as usize], bytes: self.bytes[number as usize] }
    }

    /// Its size in bytes.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn bytes(&self, number: u32) -> u64 {
        self.bytes[number as usize]
    }

    /// Bytes of all blocks.
    pub fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// The blocks that a block's pointers lead to; the same as often as there are pointers.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn targets(&self, number: u32) -> &[u32] {
        &self.targets[self.range(number)]
    }

    /// The block's pointers: the word of 8 bytes from its start that each stands in, and where it leads.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn pointers(&self, number: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let range = self.range(number);
        self.words[range.clone()].iter().copied().zip(self.targets[range].iter().copied())
    }

    /// All pointers to a block: who holds each, and in which word.
    pub fn holders(&self, number: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let found = self.targets.iter().enumerate().filter(move |&(_, &target)| target == number);
        found.map(|(at, _)| {
            let holder = self.first.partition_point(|&first| first as usize <= at) - 1;
            (holder as u32, self.words[at])
        })
    }

    /// The block that begins at an address.
    pub fn find(&self, start: u64) -> Option<u32> {
        find(&self.starts, &self.bytes, &self.pieces, start)
    }

    /// The block that an address lies in.
    pub fn containing(&self, address: u64) -> Option<u32> {
        let before = self.starts.partition_point(|&start| start <= address).checked_sub(1)?;
        // A block of no bytes has an address all the same.
        (address - self.starts[before] < self.bytes[before].max(1)).then_some(before as u32)
    }

    /// The blocks next to an address that lies in none: the last that begins before it, and the first behind it.
    pub fn beside(&self, address: u64) -> (Option<u32>, Option<u32>) {
        let after = self.starts.partition_point(|&start| start <= address);
        (after.checked_sub(1).map(|at| at as u32), (after < self.len()).then_some(after as u32))
    }

    fn range(&self, number: u32) -> Range<usize> {
        self.first[number as usize] as usize..self.first[number as usize + 1] as usize
    }
}

/// Blocks while they are read.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    starts: Vec<u64>,
    bytes: Vec<u64>,
    pieces: Vec<(u64, u32)>,
}

impl Blocks {
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The one that was added last.
    pub(crate) fn last(&self) -> Option<Block> {
        Some(Block { start: *self.starts.last()?, bytes: *self.bytes.last()? })
    }

    /// Its address is beyond that of all others.
    pub(crate) fn push(&mut self, block: Block) {
        let piece = block.start >> PIECE_BITS;
        if self.pieces.last().is_none_or(|&(last, _)| last != piece) {
            self.pieces.push((piece, self.starts.len() as u32));
        }
        self.starts.push(block.start);
        self.bytes.push(block.bytes);
    }

    /// See [`Graph::find`].
    pub(crate) fn find(&self, start: u64) -> Option<u32> {
        find(&self.starts, &self.bytes, &self.pieces, start)
    }
}

fn find(starts: &[u64], bytes: &[u64], pieces: &[(u64, u32)], start: u64) -> Option<u32> {
    let piece = pieces.binary_search_by_key(&(start >> PIECE_BITS), |&(piece, _)| piece).ok()?;
    let from = pieces[piece].1 as usize;
    let to = pieces.get(piece + 1).map_or(starts.len(), |&(_, first)| first as usize);
    // Blocks of one size without gaps are found at once; where some are free the one that is meant lies before.
    let guess = start.checked_sub(starts[from])? / bytes[from].max(1);
    let end = usize::try_from(guess).map_or(to, |guess| to.min(from.saturating_add(guess).saturating_add(1)));
    if starts[end - 1] == start {
        return Some(end as u32 - 1);
    }
    starts[from..to].binary_search(&start).ok().map(|at| (from + at) as u32)
}
