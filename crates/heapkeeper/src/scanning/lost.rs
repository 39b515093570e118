//! Lost blocks by their allocation sites.

use super::memory::{FromZeros, Scratch};
use hk_format::Loss;

/// Sites that are told apart; what is lost at more is counted together.
const SITES_MAX: usize = 8192;

/// What was lost at a site, in one way.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct LostAt {
    /// A [`Loss`]; 0: nothing.
    loss: u32,
    /// The stack of the allocation; 0: not known, and then blocks are told apart by their size.
    pub(super) stack: u32,
    /// Of all blocks, if the stack is not known.
    block_bytes: u64,
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    pub(super) indirect_blocks: u64,
    pub(super) indirect_bytes: u64,
    /// The oldest block, and when it was allocated.
    pub(super) oldest: u64,
    oldest_ns: u64,
}
// SAFETY: integers.
unsafe impl FromZeros for LostAt {}

/// A block that was lost, and those that were lost with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostBlock {
    pub(super) loss: Loss,
    pub(super) stack: u32,
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) time_ns: u64,
    pub(super) indirect_blocks: u64,
    pub(super) indirect_bytes: u64,
}

impl LostAt {
    pub(super) fn loss(&self) -> Loss {
        Loss::from_u32(self.loss).unwrap_or(Loss::None)
    }

    fn is_of(&self, block: &LostBlock) -> bool {
        let same_size = block.stack != 0 || self.block_bytes == block.bytes;
        self.loss == block.loss as u32 && self.stack == block.stack && same_size
    }

    fn count(&mut self, block: &LostBlock) {
        let is_first = self.blocks == 0;
        (self.loss, self.stack) = (block.loss as u32, block.stack);
        self.blocks += 1;
        self.bytes += block.bytes;
        self.indirect_blocks += block.indirect_blocks;
        self.indirect_bytes += block.indirect_bytes;
        if is_first || block.time_ns < self.oldest_ns {
            (self.oldest, self.oldest_ns) = (block.start, block.time_ns);
            self.block_bytes = block.bytes;
        }
    }
}

/// See the module head.
pub(super) struct Lost(Scratch<LostAt>);

impl Lost {
    pub(super) fn new() -> Option<Self> {
        Scratch::new(SITES_MAX).map(Lost)
    }

    /// Where its memory lies.
    pub(super) fn place(&self) -> (usize, usize) {
        self.0.place()
    }

    pub(super) fn add(&mut self, block: &LostBlock) {
        let key = if block.stack == 0 { block.bytes << 32 } else { u64::from(block.stack) };
        // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4).
        let hash = (key ^ (block.loss as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let first = (hash >> 40) as usize % SITES_MAX;
        let places = self.0.slice_mut();
        let probes = (0..SITES_MAX).map(|step| (first + step) % SITES_MAX);
        let found = probes.into_iter().find(|&at| places[at].blocks == 0 || places[at].is_of(block));
        // In a full table the last place is everybody's.
        places[found.unwrap_or(SITES_MAX - 1)].count(block);
    }

    /// All sites, those that lost most first.
    pub(super) fn sorted(&mut self) -> &[LostAt] {
        let places = self.0.slice_mut();
        places.sort_unstable_by_key(|at| core::cmp::Reverse((at.bytes + at.indirect_bytes, at.blocks)));
        let count = places.iter().take_while(|at| at.blocks > 0).count();
        &places[..count]
    }
}
