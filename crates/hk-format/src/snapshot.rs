//! A snapshot: all blocks of a process's heap at one moment, and every pointer to one.
//!
//! The same bytes go from the program to the command, and from the command to a file:
//!
//! ```text
//! SnapshotHeader
//! ChunkHeader, items     any number, in the order Module, Thread, Mapping, Root, Block, Life, Freed, Stack,
//!                        Area, Span
//! ChunkHeader            kind End, with the totals
//! ```
//!
//! A kind may have any number of chunks. Blocks come in the order of their addresses. A snapshot without its end was cut short, and a
//! reader refuses it.

use crate::{PROCESS_NAME_BYTES, numbered};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first eight bytes of every snapshot.
pub const SNAPSHOT_MAGIC: [u8; 8] = *b"HEAPSNP\n";
/// The layout's version; a reader refuses any other.
pub const SNAPSHOT_VERSION: u32 = 3;
/// In every chunk's head.
pub const CHUNK_MAGIC: u32 = u32::from_le_bytes(*b"HKch");
/// Bytes of a chunk's body, at most.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// Bytes kept of the path of a mapping (its end, if it is longer).
pub const MAPPING_PATH_BYTES: usize = 104;

/// How a snapshot begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SnapshotHeader {
    /// [`SNAPSHOT_MAGIC`].
    pub magic: [u8; 8],
    /// [`SNAPSHOT_VERSION`].
    pub version: u32,
    /// The process, as it sees itself.
    pub pid: u32,
    /// When the program stood still, nanoseconds since 1970.
    pub time_ns: u64,
    /// When the process started to be observed, nanoseconds since 1970.
    pub start_ns: u64,
    /// The heap's range of addresses.
    pub heap_start: u64,
    /// Its size in bytes.
    pub heap_bytes: u64,
    /// How long the program's threads stood still, in nanoseconds.
    pub stop_ns: u64,
    /// One block in so many has its allocation recorded, in the mean (1: all, 0: none); of others only the size is known.
    pub every: u32,
    /// A [`crate::Mode`]'s number, as in [`crate::ProcessRecord`].
    pub mode: u32,
    /// Bytes used of `program`.
    pub program_len: u32,
    /// Filler.
    pub reserved: u32,
    /// The program's path, from /proc/self/exe (its end, if it is longer).
    pub program: [u8; PROCESS_NAME_BYTES],
}

impl SnapshotHeader {
    /// The program's path, without filler.
    pub fn program_bytes(&self) -> &[u8] {
        &self.program[..(self.program_len as usize).min(PROCESS_NAME_BYTES)]
    }
}

numbered! {
    /// What the items of a chunk are.
    pub enum ChunkKind {
        /// [`crate::ModuleHeader`]s, each followed by its path, padded to 8 bytes.
        Module = 1,
        /// [`ThreadRecord`]s.
        Thread = 2,
        /// [`MappingRecord`]s.
        Mapping = 3,
        /// [`RootRecord`]s.
        Root = 4,
        /// [`BlockRecord`]s, each followed by as many [`PointerRecord`]s as it says.
        Block = 5,
        /// [`KnownLife`]s of live blocks.
        Life = 6,
        /// [`FreedRecord`]s.
        Freed = 7,
        /// [`StackRecord`]s, each followed by its frames.
        Stack = 8,
        /// [`AreaRecord`]s.
        Area = 9,
        /// [`SpanRecord`]s, each followed by its [`SpanWord`]s.
        Span = 10,
        /// [`SnapshotTotals`], once, at the end.
        End = 11,
    }
}

/// Stands before each chunk's items.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ChunkHeader {
    /// [`CHUNK_MAGIC`].
    pub magic: u32,
    /// A [`ChunkKind`].
    pub kind: u32,
    /// Bytes of the items that follow; a multiple of 8, at most [`CHUNK_BYTES_MAX`]. No item is cut.
    pub bytes: u32,
    /// Items.
    pub count: u32,
}

/// A thread that was stopped.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ThreadRecord {
    /// Thread id (gettid).
    pub tid: u32,
    /// Filler.
    pub reserved: u32,
    /// Its name (comm).
    pub name: [u8; 16],
    /// Its stack pointer; stacks are looked at from there.
    pub stack_pointer: u64,
    /// The instruction that it stood at.
    pub instruction: u64,
}

/// A mapping that was looked through for pointers.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct MappingRecord {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// Bytes used of `path`; 0: no file.
    pub path_len: u32,
    /// Filler.
    pub reserved: u32,
    /// The mapped file, or a name in brackets.
    pub path: [u8; MAPPING_PATH_BYTES],
}

numbered! {
    /// Where a pointer stands that no block holds.
    pub enum RootKind {
        /// In a thread's register.
        Register = 1,
        /// On a thread's stack.
        Stack = 2,
        /// In writable data of the program or a library.
        Data = 3,
        /// In any other memory that the program may write to: a thread's own data, a mapping of the program.
        Other = 4,
    }
}

/// A pointer that no block holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RootRecord {
    /// Where it stands: an address, or a register's number in DWARF.
    pub place: u64,
    /// Start of the block that it points to, or into.
    pub target: u64,
    /// A [`RootKind`].
    pub kind: u32,
    /// The thread, for registers and stacks.
    pub tid: u32,
    /// 1 if the block is free.
    pub is_freed: u32,
    /// Filler.
    pub reserved: u32,
}

/// A live block. One that holds more pointers than fit into a chunk has more than one record; the later ones say so.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct BlockRecord {
    /// First address.
    pub start: u64,
    /// Size, as the heap rounded it.
    pub bytes: u64,
    /// [`PointerRecord`]s that follow.
    pub pointers: u32,
    /// 1 if this goes on with the pointers of the block before.
    pub goes_on: u32,
}

/// A pointer that a block holds.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct PointerRecord {
    /// Start of the block that it points to, or into.
    pub target: u64,
    /// Where it stands: words of 8 bytes from the start of the block that holds it.
    pub word: u32,
    /// 1 if the block that it points to is free.
    pub is_freed: u32,
}

/// What is known of a live block that was sampled.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct KnownLife {
    /// The block's first address.
    pub start: u64,
    /// What was asked for, in bytes.
    pub requested_bytes: u64,
    /// The size of the block that it would be were it not guarded.
    pub rounded_bytes: u64,
    /// When it was allocated, nanoseconds since 1970.
    pub time_ns: u64,
    /// The thread that allocated it.
    pub tid: u32,
    /// The [`StackRecord`] of its allocation.
    pub stack: u32,
}

/// A free block that something still points to.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FreedRecord {
    /// First address.
    pub start: u64,
    /// Size, as the heap rounded it.
    pub bytes: u64,
    /// What was asked for, in bytes; 0: not known, and nothing below is.
    pub requested_bytes: u64,
    /// When it was allocated, nanoseconds since 1970.
    pub allocated_ns: u64,
    /// When it was freed, nanoseconds since 1970.
    pub freed_ns: u64,
    /// The [`StackRecord`] of its allocation; 0: none.
    pub allocated_stack: u32,
    /// That of its free; 0: none.
    pub freed_stack: u32,
    /// The thread that allocated it.
    pub allocated_tid: u32,
    /// The thread that freed it.
    pub freed_tid: u32,
}

/// A stack that a life names. Numbers begin at 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct StackRecord {
    /// Its number.
    pub stack: u32,
    /// Return addresses that follow, innermost first, 8 bytes each.
    pub frames: u32,
}

numbered! {
    /// What an area is for.
    pub enum AreaKind {
        /// What the heap knows of its spans and threads.
        Tables = 1,
        /// Spans, in use and free.
        Blocks = 2,
        /// Guarded blocks, and what is known of them.
        Guards = 3,
        /// Memory of the library beside the heap: the recording, stacks that it keeps.
        Own = 4,
    }
}

/// Addresses that are the heap's or the library's, whether or not there is memory for them. Areas may come in any order, and do not overlap.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct AreaRecord {
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// An [`AreaKind`].
    pub kind: u32,
    /// Filler.
    pub reserved: u32,
}

/// A span that is in use: blocks of one size, one behind the other. Spans come in the order of their addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SpanRecord {
    /// First address, of the span and of its first block.
    pub start: u64,
    /// Size in bytes; what blocks leave of it is used by nobody.
    pub bytes: u64,
    /// Size of a block.
    pub block_bytes: u64,
    /// Blocks.
    pub block_count: u32,
    /// [`SpanWord`]s that follow: one for each 64 blocks.
    pub words: u32,
}

/// What 64 blocks of a span are, one bit each, the first block's the lowest. A block that is in none of the sets is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SpanWord {
    /// Live.
    pub live: u64,
    /// Freed, and retained: by the quarantine, or for good.
    pub retained: u64,
    /// Free, and in the hands of a thread that will give it out next.
    pub available: u64,
}

/// What a snapshot ends with; a reader counts along.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SnapshotTotals {
    /// Live blocks.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Pointers that blocks hold.
    pub pointers: u64,
    /// Pointers that no block holds.
    pub roots: u64,
    /// Free blocks that something points to.
    pub freed: u64,
}

const _: () = assert!(size_of::<ChunkHeader>().is_multiple_of(8));
const _: () = assert!(size_of::<BlockRecord>() == 24 && size_of::<PointerRecord>() == 16);
