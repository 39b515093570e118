//! A finding: one bad call, where it was made, and what it was made on.

use crate::{RecordHeader, numbered};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Frames kept of the stack of a bad call or access.
pub const FRAME_COUNT_MAX: usize = 128;
/// Frames kept of the stacks of a block's allocation and of its free.
pub const EVENT_FRAME_COUNT_MAX: usize = 64;
/// Bytes kept of the instruction that made a bad access: none is longer (Intel SDM, volume 2, 2.3.11).
pub const CODE_BYTES: usize = 16;
/// Sites that are told of those that free the blocks of an allocation site.
pub const FREE_SITES_MAX: usize = 4;
/// Frames kept of such a site.
pub const SITE_FRAME_COUNT_MAX: usize = 12;
/// Room for the modules that the frames lie in.
pub const MODULE_AREA_BYTES: usize = 6816;

numbered! {
    /// What is wrong with the call.
    pub enum FindingKind {
        /// A block that is not allocated was freed or reallocated (CWE-415).
        DoubleFree = 1,
        /// A block that is not allocated was asked about (CWE-416).
        UseAfterFree = 2,
        /// The address is not of the heap (CWE-590).
        NotOfHeap = 3,
        /// The address lies in the heap, but is not the start of a block (CWE-761).
        NotBlockStart = 4,
        /// A write behind a block's end (CWE-122).
        OverrunWrite = 5,
        /// A write before a block's start (CWE-124).
        UnderrunWrite = 6,
        /// A read behind a block's end (CWE-126).
        OverrunRead = 7,
        /// A read before a block's start (CWE-127).
        UnderrunRead = 8,
        /// A block was freed by another family of functions than it came from (CWE-762).
        MismatchedDeallocation = 9,
        /// Rust's dealloc was called with another layout than alloc (CWE-762).
        WrongLayout = 10,
        /// Nothing leads to a block any more, and it was not freed (CWE-401).
        Leak = 11,
    }
}

impl FindingKind {
    /// The number in MITRE's Common Weakness Enumeration.
    pub const fn cwe(self) -> u32 {
        match self {
            FindingKind::DoubleFree => 415,
            FindingKind::UseAfterFree => 416,
            FindingKind::NotOfHeap => 590,
            FindingKind::NotBlockStart => 761,
            FindingKind::OverrunWrite => 122,
            FindingKind::UnderrunWrite => 124,
            FindingKind::OverrunRead => 126,
            FindingKind::UnderrunRead => 127,
            FindingKind::MismatchedDeallocation | FindingKind::WrongLayout => 762,
            FindingKind::Leak => 401,
        }
    }

    /// Two or three words for a person.
    pub const fn title(self) -> &'static str {
        match self {
            FindingKind::DoubleFree => "double free",
            FindingKind::UseAfterFree => "use after free",
            FindingKind::NotOfHeap | FindingKind::NotBlockStart => "invalid free",
            FindingKind::OverrunWrite => "write past the end",
            FindingKind::UnderrunWrite => "write before the start",
            FindingKind::OverrunRead => "read past the end",
            FindingKind::UnderrunRead => "read before the start",
            FindingKind::MismatchedDeallocation => "mismatched deallocation",
            FindingKind::WrongLayout => "deallocation with a wrong layout",
            FindingKind::Leak => "leak",
        }
    }
}

numbered! {
    /// The call that was bad.
    pub enum Call {
        /// free, cfree, or operator delete.
        Free = 1,
        /// realloc or reallocarray.
        Realloc = 2,
        /// malloc_usable_size.
        UsableSize = 3,
        /// Two racing frees of one block, seen when the block's owner looked: the stack is the owner's.
        SeenLater = 4,
        /// The Rust API's dealloc.
        Dealloc = 5,
        /// No call: an instruction of the program read or wrote.
        Access = 6,
        /// A system call that was given a bad buffer.
        SystemCall = 7,
        /// C++'s operator delete.
        Delete = 8,
        /// C++'s operator delete[].
        DeleteArray = 9,
        /// No call: damage, or a leak, was found when the program ended.
        Exit = 10,
        /// No call: a leak was found while the program ran.
        Scan = 11,
    }
}

numbered! {
    /// What shows that something is wrong.
    pub enum Evidence {
        /// The call itself: the heap knows its blocks.
        Call = 0,
        /// The processor trapped at the access.
        Trap = 1,
        /// What stood beside the block was overwritten; found later.
        Canary = 2,
        /// The buffer that a system call was given.
        Buffer = 3,
        /// All memory was looked through for pointers.
        Scan = 4,
    }
}

numbered! {
    /// What a bad instruction or system call did with the address.
    pub enum AccessKind {
        /// There was no access.
        None = 0,
        /// It read.
        Read = 1,
        /// It wrote.
        Write = 2,
        /// It jumped there.
        Execute = 3,
    }
}

numbered! {
    /// The functions that blocks come from and go back to.
    pub enum Family {
        /// Not known.
        Unknown = 0,
        /// malloc, calloc, realloc, memalign and their like; free.
        Malloc = 1,
        /// C++'s operator new; operator delete.
        New = 2,
        /// C++'s operator new[]; operator delete[].
        NewArray = 3,
        /// Rust's alloc; dealloc.
        Rust = 4,
    }
}

numbered! {
    /// What lies at the address.
    pub enum Place {
        /// The start of a block that is free now.
        FreeBlock = 1,
        /// The start of a block of a span that has been given back since.
        RetiredBlock = 2,
        /// Inside a live block.
        InsideLiveBlock = 3,
        /// Inside a free block.
        InsideFreeBlock = 4,
        /// In the heap's range, in no block.
        NoBlock = 5,
        /// A thread's stack.
        Stack = 6,
        /// Writable or read-only data of the program or a library (module names it if known).
        StaticData = 7,
        /// A mapped file.
        MappedFile = 8,
        /// An anonymous mapping that is no allocator's.
        Anonymous = 9,
        /// No memory is mapped there.
        Unmapped = 10,
        /// The program's code.
        Code = 11,
        /// The heap's own tables.
        OwnTables = 12,
        /// The brk heap or another allocator's memory, but no block that it would own.
        OtherHeap = 13,
    }
}

numbered! {
    /// How much of the stack there is.
    pub enum StackState {
        /// None yet (the process died while it was taken).
        Absent = 0,
        /// Down to the thread's first frame.
        Whole = 1,
        /// Cut at [`FRAME_COUNT_MAX`] frames.
        Cut = 2,
        /// Ended early: a frame without unwind information, or a damaged stack.
        Broken = 3,
    }
}

/// What happened to a block at some time: it was allocated, or freed.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct EventRecord {
    /// Nanoseconds since 1970; 0: there is no such event.
    pub time_ns: u64,
    /// Thread id (gettid).
    pub tid: u32,
    /// A [`Family`].
    pub family: u32,
    /// The thread's name (comm), if it was known.
    pub thread_name: [u8; 16],
    /// A [`StackState`].
    pub stack_state: u32,
    /// Used entries of `frames`.
    pub frame_count: u32,
    /// Return addresses, innermost first.
    pub frames: [u64; EVENT_FRAME_COUNT_MAX],
}

impl EventRecord {
    /// The return addresses, innermost first.
    pub fn frames(&self) -> &[u64] {
        &self.frames[..(self.frame_count as usize).min(EVENT_FRAME_COUNT_MAX)]
    }

    /// The thread's name, without filler.
    pub fn thread_name_bytes(&self) -> &[u8] {
        until_zero(&self.thread_name)
    }
}

/// A site that freed blocks of the allocation site in question.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FreeSiteRecord {
    /// Blocks of the allocation site that it freed, of those that were guarded.
    pub count: u64,
    /// Used entries of `frames`.
    pub frame_count: u32,
    /// Filler.
    pub reserved: u32,
    /// Return addresses, innermost first.
    pub frames: [u64; SITE_FRAME_COUNT_MAX],
}

impl FreeSiteRecord {
    /// The return addresses, innermost first.
    pub fn frames(&self) -> &[u64] {
        &self.frames[..(self.frame_count as usize).min(SITE_FRAME_COUNT_MAX)]
    }
}

/// The life of the block that a finding is about, if it was guarded.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct LifeRecord {
    /// 1 if the block was guarded, and the rest holds.
    pub is_known: u32,
    /// 1 if the guard was taken away for the access, so that the program goes on.
    pub opened: u32,
    /// What was asked for, in bytes.
    pub requested_bytes: u64,
    /// The alignment that was asked for, in bytes.
    pub align_bytes: u64,
    /// Where the block's own pages begin, and end: the guards stand before and behind.
    pub pages_start: u64,
    /// See `pages_start`.
    pub pages_end: u64,
    /// Guarded blocks of the allocation site so far.
    pub site_blocks: u64,
    /// Guarded blocks of the allocation site that were freed.
    pub site_frees: u64,
    /// The allocation.
    pub allocated: EventRecord,
    /// The free.
    pub freed: EventRecord,
    /// Who freed the blocks of the allocation site, most frequent first.
    pub free_sites: [FreeSiteRecord; FREE_SITES_MAX],
}

numbered! {
    /// How blocks were lost.
    pub enum Loss {
        /// They were not.
        None = 0,
        /// Nothing points at any of them.
        Direct = 1,
        /// They point at each other in circles, and nothing else does.
        Cycle = 2,
    }
}

/// Blocks of one allocation site that were lost in the same way, if the finding is a leak.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct LeakRecord {
    /// A [`Loss`].
    pub loss: u32,
    /// One block in so many has its allocation recorded, in the mean; of others only the size is known.
    pub every: u32,
    /// How many.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were lost with them: only they lead there.
    pub indirect_blocks: u64,
    /// Their bytes.
    pub indirect_bytes: u64,
    /// Filler.
    pub reserved: u64,
}

/// A finding. Fixed size, so that it can be claimed and committed before the stack is taken.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FindingRecord {
    /// The head.
    pub header: RecordHeader,
    /// A [`FindingKind`].
    pub finding: u32,
    /// A [`Call`].
    pub call: u32,
    /// A [`Place`].
    pub place: u32,
    /// How often the same call on the same path was seen, this one included; grows in place.
    pub repeats: u32,
    /// The address that was passed.
    pub address: u64,
    /// Start of the block that the address lies in (0: none).
    pub block_start: u64,
    /// Size of that block (0: none), as the allocator rounded it.
    pub block_bytes: u64,
    /// The thread's name (comm).
    pub thread_name: [u8; 16],
    /// A [`StackState`].
    pub stack_state: u32,
    /// Used entries of `frames`.
    pub frame_count: u32,
    /// Used bytes of `modules`.
    pub module_bytes: u32,
    /// 1 if the program was told to abort on it.
    pub aborted: u32,
    /// Start of the mapping or module part that a foreign address lies in (0: none).
    pub place_start: u64,
    /// Its end.
    pub place_end: u64,
    /// An [`Evidence`].
    pub evidence: u32,
    /// An [`AccessKind`].
    pub access: u32,
    /// Bytes that were accessed, where that is known beforehand (a system call's buffer, overwritten bytes); 0: `code` tells.
    pub access_bytes: u64,
    /// The instruction that made the access, and what follows it.
    pub code: [u8; CODE_BYTES],
    /// Used bytes of `code`.
    pub code_len: u32,
    /// Filler.
    pub reserved: u32,
    /// The leak, of which the block is the oldest.
    pub leak: LeakRecord,
    /// The block's life.
    pub life: LifeRecord,
    /// Return addresses, innermost first: `frames[0]` is where the bad call returns to.
    pub frames: [u64; FRAME_COUNT_MAX],
    /// [`ModuleHeader`]s, each followed by its path, padded to 8 bytes. Each module once.
    pub modules: [u8; MODULE_AREA_BYTES],
    /// Path of the file or module at a foreign address, zero-filled; also what brings the size to a multiple of 64.
    pub place_name: [u8; 200],
}
const _: () = assert!(size_of::<FindingRecord>().is_multiple_of(64));
const _: () = assert!(size_of::<FindingRecord>() <= 12288);

impl FindingRecord {
    /// The return addresses, innermost first.
    pub fn frames(&self) -> &[u64] {
        &self.frames[..(self.frame_count as usize).min(FRAME_COUNT_MAX)]
    }

    /// The modules that frames lie in.
    pub fn modules(&self) -> ModuleIter<'_> {
        ModuleIter { rest: &self.modules[..(self.module_bytes as usize).min(MODULE_AREA_BYTES)] }
    }

    /// The thread's name, without filler.
    pub fn thread_name_bytes(&self) -> &[u8] {
        until_zero(&self.thread_name)
    }

    /// Path of the file or module at a foreign address, empty if none.
    pub fn place_name_bytes(&self) -> &[u8] {
        until_zero(&self.place_name)
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    &bytes[..len]
}

/// A loaded module: the program or a shared library.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct ModuleHeader {
    /// First mapped address.
    pub start: u64,
    /// End of the mapping.
    pub end: u64,
    /// What the loader added to the file's addresses (`l_addr`): address - bias = address in the file.
    pub bias: u64,
    /// Bytes used of `build_id`.
    pub build_id_len: u32,
    /// Bytes of the path that follows (0: the program itself; see its [`crate::ProcessRecord`]).
    pub path_len: u32,
    /// The GNU build id, as mapped.
    pub build_id: [u8; 32],
}

/// A module of a finding.
#[derive(Clone, Copy, Debug)]
pub struct ModuleRef<'a> {
    /// Addresses and build id.
    pub header: ModuleHeader,
    /// Path as the loader knows it; empty for the program itself.
    pub path: &'a [u8],
}

impl ModuleRef<'_> {
    /// The build id's bytes.
    pub fn build_id(&self) -> &[u8] {
        &self.header.build_id[..(self.header.build_id_len as usize).min(32)]
    }
}

/// Walks the modules of a finding; stops at the first that is damaged.
#[derive(Clone, Debug)]
pub struct ModuleIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for ModuleIter<'a> {
    type Item = ModuleRef<'a>;
    fn next(&mut self) -> Option<ModuleRef<'a>> {
        let (header, rest) = ModuleHeader::read_from_prefix(self.rest).ok()?;
        let len = header.path_len as usize;
        let path = rest.get(..len)?;
        self.rest = rest.get(len.next_multiple_of(8)..)?;
        Some(ModuleRef { header, path })
    }
}
