//! Records that follow the process table: what each begins with, and the small kinds.

use crate::numbered;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// In every record's head, so that a reader can find the next one after a torn one.
pub const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"HKrc");
/// Room for a path in an [`ExecRecord`].
pub const EXEC_PATH_BYTES: usize = 456;
/// Room for the text of a [`NoteRecord`].
pub const NOTE_TEXT_BYTES: usize = 200;

numbered! {
    /// What a record tells.
    pub enum RecordKind {
        /// A [`crate::FindingRecord`].
        Finding = 1,
        /// An [`ExecRecord`].
        Exec = 2,
        /// A [`NoteRecord`].
        Note = 3,
    }
}

numbered! {
    /// How far the writing of a record has come.
    pub enum RecordState {
        /// The length is valid, the body is not.
        Claimed = 0,
        /// The body is valid. A finding's stack may still follow.
        Written = 1,
        /// Nothing more follows.
        Complete = 2,
    }
}

/// Every record begins with this.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RecordHeader {
    /// [`RECORD_MAGIC`].
    pub magic: u32,
    /// Bytes of the whole record, this head included; a multiple of 64. Written first.
    pub len: u32,
    /// A [`RecordKind`].
    pub kind: u32,
    /// A [`RecordState`]; written last.
    pub state: u32,
    /// Index into the process table.
    pub process: u32,
    /// Thread id (gettid).
    pub tid: u32,
    /// When, nanoseconds since 1970.
    pub time_ns: u64,
}

numbered! {
    /// What became of an exec.
    pub enum ExecState {
        /// About to be made; if nothing else comes, it succeeded.
        Attempted = 0,
        /// It returned with an error: no new program.
        Failed = 1,
        /// posix_spawn returned; `child_pid` is set.
        Spawned = 2,
    }
}

/// A process is about to become another program, or starts one by posix_spawn. A program that is covered
/// makes a [`crate::ProcessRecord`] with the same pid and a later start; if none follows, it was not covered,
/// and the path tells why (static, setuid, 32-bit).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ExecRecord {
    /// The head; `time_ns` is just before the call.
    pub header: RecordHeader,
    /// Pid that makes the call (the child's, in a vfork child).
    pub pid: u32,
    /// An [`ExecState`].
    pub exec_state: u32,
    /// Child's pid if the call was posix_spawn.
    pub child_pid: u32,
    /// errno if it failed.
    pub error: u32,
    /// Bytes used of `path`.
    pub path_len: u32,
    /// Filler.
    pub reserved: u32,
    /// The file, resolved along PATH where the call does so; absolute where that was possible.
    pub path: [u8; EXEC_PATH_BYTES],
}
const _: () = assert!(size_of::<ExecRecord>() == 512);

impl ExecRecord {
    /// The path's bytes, without filler.
    pub fn path_bytes(&self) -> &[u8] {
        &self.path[..(self.path_len as usize).min(EXEC_PATH_BYTES)]
    }
}

numbered! {
    /// What a note says.
    pub enum NoteKind {
        /// A setting that is unknown or malformed was ignored; text = the setting.
        BadSetting = 1,
        /// The reservation had to be smaller than usual; value = its bytes.
        SmallReservation = 2,
        /// The reservation is used up, or the system gave no more: malloc returned NULL; value = bytes asked for.
        OutOfMemory = 3,
        /// The program limited its address space (setrlimit) below what is reserved; value = the limit.
        AddressSpaceLimited = 4,
        /// No heap could be made; the program runs on the system's malloc; value = errno.
        NoHeap = 5,
        /// A pointer of another allocator was handed on to its owner for the first time; text = which.
        ForeignOwner = 6,
        /// The program defines malloc itself, so that its calls do not come to this heap.
        OwnMalloc = 7,
        /// Blocks went unguarded as the memory that guards may take was used up, for the first time; value = that memory, bytes.
        GuardsThinned = 8,
        /// Guards are put up by mprotect, as the system has nothing better (Linux before 6.13), and there are few; value = how many.
        GuardsByProtection = 9,
        /// The program took SIGSEGV over by a bare system call: accesses go unreported.
        TrapsLost = 10,
        /// Memory was to be looked through for pointers, and was not; text = why; value = the thread, if it was one that did not stop.
        NoScan = 11,
        /// Freed blocks are released by age, as memory cannot be looked through; text = why; value = the thread, if it was one that did not stop.
        Relaxed = 12,
        /// The program ended by `_exit`, and so was not looked through for leaks: that is its own choice, as shells make it.
        EndedAtOnce = 13,
    }
}

/// Something a user should know that is no finding.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct NoteRecord {
    /// The head.
    pub header: RecordHeader,
    /// A [`NoteKind`].
    pub note: u32,
    /// Bytes used of `text`.
    pub text_len: u32,
    /// A number whose meaning the kind tells.
    pub value: u64,
    /// Text whose meaning the kind tells.
    pub text: [u8; NOTE_TEXT_BYTES],
    /// Filler.
    pub reserved: [u8; 8],
}
const _: () = assert!(size_of::<NoteRecord>() == 256);

impl NoteRecord {
    /// The text's bytes, without filler.
    pub fn text_bytes(&self) -> &[u8] {
        &self.text[..(self.text_len as usize).min(NOTE_TEXT_BYTES)]
    }
}
