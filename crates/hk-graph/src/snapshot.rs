//! A snapshot as it is in memory.

use crate::graph::Graph;
use crate::holders::Holder;
use hk_format::{
    AreaRecord, FreedRecord, MappingRecord, ModuleHeader, RootKind, SnapshotHeader, SnapshotTotals,
    SpanRecord, SpanWord, ThreadRecord,
};

/// All that was told of a heap at one moment. Blocks are numbers; see [`Graph`].
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The process, when, and how much was sampled.
    pub header: SnapshotHeader,
    /// Loaded modules.
    pub modules: Vec<Module>,
    /// Threads that were stopped.
    pub threads: Vec<ThreadRecord>,
    /// Mappings that were looked through.
    pub mappings: Vec<MappingRecord>,
    /// Pointers to live blocks that no block holds.
    pub roots: Vec<Root>,
    /// Live blocks and the pointers between them.
    pub graph: Graph,
    /// What is known of sampled blocks.
    pub lives: Lives,
    /// Free blocks that something points to, by address.
    pub freed: Vec<FreedRecord>,
    /// The pointers to them.
    pub freed_pointers: Vec<FreedPointer>,
    /// The stacks that lives and freed blocks name.
    pub stacks: Stacks,
    /// Addresses that are the heap's or the library's.
    pub areas: Vec<AreaRecord>,
    /// Spans that are in use.
    pub spans: Spans,
    /// What it ended with.
    pub totals: SnapshotTotals,
}

/// A loaded module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Addresses and build id.
    pub header: ModuleHeader,
    /// Path as the loader knows it; empty for the program itself.
    pub path: Vec<u8>,
}

impl Module {
    /// The build id's bytes.
    pub fn build_id(&self) -> &[u8] {
        &self.header.build_id[..(self.header.build_id_len as usize).min(self.header.build_id.len())]
    }
}

/// A pointer to a live block that no block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Where it stands: an address, or a register's number in DWARF.
    pub place: u64,
    /// What kind of place that is.
    pub kind: RootKind,
    /// The thread, for registers and stacks.
    pub tid: u32,
    /// The block that it points to, or into.
    pub block: u32,
}

/// A pointer to a free block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreedPointer {
    /// Where it stands.
    pub holder: Holder,
    /// The block's place in [`Snapshot::freed`].
    pub freed: u32,
}

/// What is known of a live block that was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The block.
    pub block: u32,
    /// Its allocation's stack in [`Stacks`]; 0: none.
    pub stack: u32,
    /// The thread that allocated it.
    pub tid: u32,
    /// What was asked for, in bytes.
    pub requested_bytes: u64,
    /// The size of the block that it would be were it not guarded.
    pub rounded_bytes: u64,
    /// When it was allocated, nanoseconds since 1970.
    pub time_ns: u64,
}

/// Lives by block.
#[derive(Clone, Debug, Default)]
pub struct Lives(pub(crate) Vec<Life>);

impl Lives {
    /// All of them, in the order of blocks.
    pub fn all(&self) -> &[Life] {
        &self.0
    }

    /// That of a block, if it was sampled.
    pub fn of(&self, block: u32) -> Option<&Life> {
        self.0.binary_search_by_key(&block, |life| life.block).ok().map(|at| &self.0[at])
    }
}

/// Stacks by numbers from 1; a snapshot's own numbers are not kept.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    pub(crate) ends: Vec<u32>,
    pub(crate) frames: Vec<u64>,
}

impl Stacks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Return addresses, innermost first; none for 0.
    ///
    /// # Panics
    /// If there is no stack of that number.
    pub fn frames(&self, stack: u32) -> &[u64] {
        let Some(at) = (stack as usize).checked_sub(1) else { return &[] };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.frames[start as usize..self.ends[at] as usize]
    }
}

/// Spans by address.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    pub(crate) records: Vec<SpanRecord>,
    pub(crate) words: Vec<SpanWord>,
}

impl Spans {
    /// Each, with what its blocks are: one word for each 64.
    pub fn all(&self) -> impl Iterator<Item = (&SpanRecord, &[SpanWord])> {
        let mut rest = &self.words[..];
        self.records.iter().map(move |record| {
            let (words, behind) = rest.split_at(record.words as usize);
            rest = behind;
            (record, words)
        })
    }
}

impl Snapshot {
    /// The thread that roots and lives name.
    pub fn thread(&self, tid: u32) -> Option<&ThreadRecord> {
        self.threads.iter().find(|thread| thread.tid == tid)
    }

    /// The free block at an address, which may lie inside it.
    pub fn freed_at(&self, address: u64) -> Option<u32> {
        let after = self.freed.partition_point(|freed| freed.start <= address);
        let at = after.checked_sub(1)?;
        let freed = &self.freed[at];
        // A block of no bytes has an address all the same.
        (address - freed.start < freed.bytes.max(1)).then_some(at as u32)
    }
}
