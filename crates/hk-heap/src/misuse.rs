//! What a bad pointer is, as far as the heap can tell.

/// What is wrong with a pointer that was given to free, realloc or malloc_usable_size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// What lies at the address.
    pub at: At,
    /// Start of the block concerned, 0 if there is none.
    pub block_start: usize,
    /// Its size in bytes, 0 if there is none.
    pub block_bytes: usize,
}

/// What lies at a bad address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The start of a block that is free.
    FreeBlock,
    /// The start of a block of a span that was given back since.
    RetiredBlock,
    /// Inside a live block.
    InsideLiveBlock,
    /// Inside a free block, or of a block of a span that was given back.
    InsideFreeBlock,
    /// In the heap's slices, in no block.
    NoBlock,
    /// The heap's tables.
    OwnTables,
    /// Not in this heap's reservation at all.
    Foreign,
}

impl Misuse {
    pub(crate) const fn without_block(at: At) -> Self {
        Misuse { at, block_start: 0, block_bytes: 0 }
    }
}
