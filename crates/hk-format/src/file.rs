//! The head of a recording.

use crate::control::{Control, RING_BYTES, ring_offset};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first eight bytes of every recording.
pub const MAGIC: [u8; 8] = *b"HEAPKPR\n";
/// The layout's version; a reader refuses any other.
pub const VERSION: u32 = 5;
/// The unit of the file's parts, and of what a full disk is tested with.
pub const PAGE_BYTES: usize = 4096;
/// Where the process table begins.
pub const PROCESS_TABLE_OFFSET: usize = PAGE_BYTES;
/// Where the control words begin inside the header page; a cache line of their own, as refills poll them.
pub const CONTROL_OFFSET: usize = 128;

/// One page at the start of the file. The counters are accessed atomically by the processes of the run.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FileHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// Entries of the process table.
    pub process_capacity: u32,
    /// Size of the whole file in bytes; records end here.
    pub file_bytes: u64,
    /// Where records begin, in bytes from the start of the file.
    pub records_offset: u64,
    /// Wall clock at the making of the file, nanoseconds since 1970.
    pub created_ns: u64,
    /// Bump counter: the next free byte for records, from the start of the file. May run past `file_bytes`.
    pub record_next: u64,
    /// Bump counter: the next free entry of the process table. May run past `process_capacity`.
    pub process_next: u32,
    /// Findings, over all processes, repeats included.
    pub finding_count: u32,
    /// Records that did not fit (file full, disk full).
    pub dropped: u64,
    /// Filler up to [`CONTROL_OFFSET`].
    pub reserved: [u8; 64],
    /// Control word that the command writes and refills poll, a [`crate::RequestWord`]; zero asks for nothing.
    pub request: u64,
    /// Filler up to a cache line of its own.
    pub reserved_request: [u64; 7],
    /// What goes with it.
    pub control: Control,
}

const _: () = assert!(core::mem::offset_of!(FileHeader, request) == CONTROL_OFFSET);
const _: () = assert!(size_of::<FileHeader>() <= PAGE_BYTES);

impl FileHeader {
    /// The header of a new recording of `file_bytes` bytes with room for `process_capacity` processes.
    pub const fn new(file_bytes: u64, process_capacity: u32, created_ns: u64) -> Self {
        let records_offset = file_layout(process_capacity);
        FileHeader {
            magic: MAGIC,
            version: VERSION,
            process_capacity,
            file_bytes,
            records_offset,
            created_ns,
            record_next: records_offset,
            process_next: 0,
            finding_count: 0,
            dropped: 0,
            reserved: [0; 64],
            request: 0,
            reserved_request: [0; 7],
            control: Control {
                pid: 0,
                reader_pid: 0,
                reason: 0,
                beat: 0,
                detail: 0,
                stop_ns: 0,
                reserved: [0; 4],
                written: 0,
                reserved_written: [0; 15],
                read: 0,
                reserved_read: [0; 15],
            },
        }
    }

    /// Whether this is a header that this version reads, with offsets that lie in order.
    pub fn is_valid(&self) -> bool {
        self.magic == MAGIC
            && self.version == VERSION
            && self.process_capacity <= 1 << 20
            && self.records_offset == file_layout(self.process_capacity)
            && self.records_offset <= self.file_bytes
    }
}

/// Where the records begin, in bytes, for a table of `process_capacity` entries.
pub const fn file_layout(process_capacity: u32) -> u64 {
    ring_offset(process_capacity) + RING_BYTES as u64
}
