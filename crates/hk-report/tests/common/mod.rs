//! Writes recordings as the library in the program would: for tests that need no program.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod samples;

use hk_format::*;
use std::fs::File;
use std::mem::size_of;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromZeros, IntoBytes};

pub const FILE_BYTES: u64 = 2 << 20;
pub const PROCESS_CAPACITY: u32 = 16;
/// What a fake module's addresses are moved by.
pub const BIAS: u64 = 0x5500_0000_0000;

/// A recording in a temporary folder, which grows record by record.
pub struct FakeRecording {
    _folder: tempfile::TempDir,
    path: PathBuf,
    file: File,
    pub header: FileHeader,
}

impl FakeRecording {
    pub fn new() -> FakeRecording {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(FILE_BYTES).unwrap();
        let header = FileHeader::new(FILE_BYTES, PROCESS_CAPACITY, 1_700_000_000_000_000_000);
        let fake = FakeRecording { _folder: folder, path, file, header };
        fake.write_header();
        fake
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write_header(&self) {
        self.file.write_all_at(self.header.as_bytes(), 0).unwrap();
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    /// Adds a process and gives its index.
    pub fn process(&mut self, record: ProcessRecord) -> u32 {
        let index = self.header.process_next;
        self.header.process_next += 1;
        self.write_header();
        let offset = PROCESS_TABLE_OFFSET as u64 + u64::from(index) * size_of::<ProcessRecord>() as u64;
        self.write_at(record.as_bytes(), offset);
        index
    }

    /// Claims room and gives its offset.
    pub fn claim(&mut self, len: usize) -> u64 {
        let offset = self.header.record_next;
        self.header.record_next += len as u64;
        self.write_header();
        offset
    }

    /// Adds a record whose head is filled in already, and gives its offset.
    pub fn record(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.claim(bytes.len());
        self.write_at(bytes, offset);
        offset
    }
}

pub fn head(kind: RecordKind, len: usize, state: RecordState, process: u32, time_ns: u64) -> RecordHeader {
    RecordHeader {
        magic: RECORD_MAGIC,
        len: len as u32,
        kind: kind as u32,
        state: state as u32,
        process,
        tid: 4711,
        time_ns,
    }
}

pub fn process(pid: u32, name: &str, state: ProcessState, start_ns: u64) -> ProcessRecord {
    let mut record = ProcessRecord::new_zeroed();
    record.state = state as u32;
    record.pid = pid;
    record.ppid = 1;
    record.start_ns = start_ns;
    record.name[..name.len()].copy_from_slice(name.as_bytes());
    record.name_len = name.len() as u32;
    record.figures = Figures {
        live_bytes: 320,
        live_blocks: 2,
        live_peak_bytes: 1 << 20,
        live_error_bytes: 4096,
        span_bytes: 1 << 21,
        span_peak_bytes: 3 << 20,
    };
    record.resident_bytes = 5 << 20;
    record
}

/// A double free of a 32-byte block, without a stack.
pub fn double_free(process: u32) -> FindingRecord {
    let mut record = FindingRecord::new_zeroed();
    record.header =
        head(RecordKind::Finding, size_of::<FindingRecord>(), RecordState::Complete, process, 1_000);
    record.finding = FindingKind::DoubleFree as u32;
    record.call = Call::Free as u32;
    record.place = Place::FreeBlock as u32;
    record.repeats = 1;
    record.address = 0x7f00_0000_1040;
    record.block_start = 0x7f00_0000_1040;
    record.block_bytes = 32;
    record.thread_name[..6].copy_from_slice(b"orders");
    record.stack_state = StackState::Whole as u32;
    record
}

/// Gives the finding a stack within one module. An empty path stands for the program itself.
pub fn with_stack(mut record: FindingRecord, path: &str, build_id: &[u8], pcs: &[u64]) -> FindingRecord {
    record.frames[..pcs.len()].copy_from_slice(pcs);
    record.frame_count = pcs.len() as u32;
    let mut header = ModuleHeader::new_zeroed();
    header.start = BIAS;
    header.end = BIAS + 0x1000_0000;
    header.bias = BIAS;
    header.build_id[..build_id.len()].copy_from_slice(build_id);
    header.build_id_len = build_id.len() as u32;
    header.path_len = path.len() as u32;
    let head_len = size_of::<ModuleHeader>();
    record.modules[..head_len].copy_from_slice(header.as_bytes());
    record.modules[head_len..head_len + path.len()].copy_from_slice(path.as_bytes());
    record.module_bytes = (head_len + path.len().next_multiple_of(8)) as u32;
    record
}

/// Something that happened to a block, by a thread `orders`, with a stack in the finding's own module.
pub fn event(time_ns: u64, family: Family, pcs: &[u64]) -> EventRecord {
    let mut record = EventRecord::new_zeroed();
    record.time_ns = time_ns;
    record.tid = 4711;
    record.family = family as u32;
    record.thread_name[..6].copy_from_slice(b"orders");
    record.stack_state = StackState::Whole as u32;
    record.frames[..pcs.len()].copy_from_slice(pcs);
    record.frame_count = pcs.len() as u32;
    record
}

/// Gives the finding a block of so many bytes that was guarded, at the end of its page, and its life. A free at 0 is none.
pub fn with_life(
    mut record: FindingRecord,
    bytes: u64,
    allocated: EventRecord,
    freed: EventRecord,
) -> FindingRecord {
    record.life.is_known = 1;
    record.life.opened = 1;
    record.life.requested_bytes = bytes;
    record.life.align_bytes = 16;
    record.life.pages_start = 0x7f00_0000_1000;
    record.life.pages_end = 0x7f00_0000_2000;
    record.block_start = 0x7f00_0000_2000 - bytes.next_multiple_of(16);
    record.block_bytes = bytes;
    record.life.allocated = allocated;
    record.life.freed = freed;
    record
}

/// Makes it a bad access, so many bytes from the block's start, by an instruction `mov eax,[rbx]` or `mov [rbx],eax`.
pub fn with_access(mut record: FindingRecord, kind: FindingKind, write: bool, offset: i64) -> FindingRecord {
    record.finding = kind as u32;
    record.call = Call::Access as u32;
    record.evidence = Evidence::Trap as u32;
    record.access = if write { AccessKind::Write } else { AccessKind::Read } as u32;
    record.code[..2].copy_from_slice(if write { &[0x89, 0x03] } else { &[0x8b, 0x03] });
    record.code_len = 2;
    record.address = record.block_start.wrapping_add_signed(offset);
    record
}

/// A site that freed blocks of the finding's allocation site.
pub fn free_site(count: u64, pcs: &[u64]) -> FreeSiteRecord {
    let mut record = FreeSiteRecord::new_zeroed();
    record.count = count;
    record.frames[..pcs.len()].copy_from_slice(pcs);
    record.frame_count = pcs.len() as u32;
    record
}

pub fn exec(pid: u32, path: &str, time_ns: u64, state: ExecState) -> ExecRecord {
    let mut record = ExecRecord::new_zeroed();
    record.header = head(RecordKind::Exec, size_of::<ExecRecord>(), RecordState::Complete, 0, time_ns);
    record.pid = pid;
    record.exec_state = state as u32;
    record.path[..path.len()].copy_from_slice(path.as_bytes());
    record.path_len = path.len() as u32;
    record
}

pub fn note(kind: NoteKind, value: u64, text: &str) -> NoteRecord {
    let mut record = NoteRecord::new_zeroed();
    record.header = head(RecordKind::Note, size_of::<NoteRecord>(), RecordState::Complete, 0, 1);
    record.note = kind as u32;
    record.value = value;
    record.text[..text.len()].copy_from_slice(text.as_bytes());
    record.text_len = text.len() as u32;
    record
}
