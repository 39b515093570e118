//! The mapped recording: opening it, claiming parts of it, and the small records.

use crate::mapping::Mapping;
use crate::seen::Seen;
use crate::sys::{self, Errno, File};
use core::ffi::CStr;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hk_format::{
    EXEC_PATH_BYTES, ExecRecord, ExecState, FileHeader, NOTE_TEXT_BYTES, NoteKind, NoteRecord, PAGE_BYTES,
    RECORD_MAGIC, RecordHeader, RecordKind, RecordState,
};
use zerocopy::FromBytes;

/// The process field of records made by a process that has no entry (table full, or disk full).
pub(crate) const NO_PROCESS: u32 = u32::MAX;

/// A run's recording, as one process of the run sees it. Meant to be a static; all methods may be called
/// from anywhere at any time, and do nothing while it is not open.
pub struct Recording {
    pub(crate) mapping: Mapping,
    /// Index of this process's entry, or [`NO_PROCESS`].
    pub(crate) process: AtomicU32,
    /// Findings that this process has already told of.
    pub(crate) seen: Seen,
    /// Full finding records that this process has made.
    pub(crate) finding_records: AtomicU32,
    refused: AtomicBool,
}

/// An exec that was announced by [`Recording::exec_begin`].
#[derive(Clone, Copy, Debug)]
#[must_use = "if the call returns, tell how it ended by exec_end"]
pub struct ExecToken {
    offset: usize,
}

/// Room for records below which a mapping is of no use.
const RECORD_BYTES_MIN: usize = 256 << 10;

/// Maps the whole file, or under a limit on address space the half, or the half of that, as long as the process
/// table and some records fit. Gives the address and the size.
fn map_what_fits(file: &File, file_bytes: usize, records_offset: usize) -> Result<(usize, usize), Errno> {
    let mut bytes = file_bytes;
    loop {
        match file.map_shared(bytes) {
            Ok(base) => return Ok((base, bytes)),
            Err(error) if bytes / 2 < records_offset + RECORD_BYTES_MIN => return Err(error),
            Err(_) => bytes = (bytes / 2).next_multiple_of(PAGE_BYTES),
        }
    }
}

impl Recording {
    /// A recording that is not open yet.
    pub const fn new() -> Self {
        Recording {
            mapping: Mapping::new(),
            process: AtomicU32::new(NO_PROCESS),
            seen: Seen::new(),
            finding_records: AtomicU32::new(0),
            refused: AtomicBool::new(false),
        }
    }

    /// Maps the recording at `path`, which the `heapkeeper` command has made. No descriptor stays open.
    ///
    /// # Errors
    /// What the system says; EINVAL if it is no recording of this version or cut short; EBUSY if one is open
    /// already; ENOSPC if there is no room on the disk for even its first page.
    pub fn open(&self, path: &CStr) -> Result<(), Errno> {
        let opened = self.try_open(path);
        if opened.is_err() && !self.is_open() {
            self.refused.store(true, Ordering::Relaxed);
        }
        opened
    }

    /// Whether there is one that could not be opened.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn try_open(&self, path: &CStr) -> Result<(), Errno> {
        if self.mapping.is_set() {
            return Err(Errno(libc::EBUSY));
        }
        let file = File::open(path, libc::O_RDWR | libc::O_NOCTTY)?;
        let mut head = [0u8; size_of::<FileHeader>()];
        if file.read(&mut head)? < head.len() {
            return Err(Errno(libc::EINVAL));
        }
        let header = FileHeader::read_from_bytes(&head).map_err(|_| Errno(libc::EINVAL))?;
        let file_bytes = usize::try_from(header.file_bytes).map_err(|_| Errno(libc::EFBIG))?;
        if !header.is_valid() || file.size_bytes()? < header.file_bytes {
            return Err(Errno(libc::EINVAL));
        }
        let (base, file_bytes) = map_what_fits(&file, file_bytes, header.records_offset as usize)?;
        if !make_room(base, 0, PAGE_BYTES) {
            discard(base, file_bytes);
            return Err(Errno(libc::ENOSPC));
        }
        sys::exclude_from_core_dumps(base, file_bytes);
        if adopt(&self.mapping, base, file_bytes) {
            Ok(())
        } else {
            discard(base, file_bytes);
            Err(Errno(libc::EBUSY))
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.mapping.is_set()
    }

    /// Index of this process's entry in the process table, if it has one.
    pub fn process_index(&self) -> Option<u32> {
        let index = self.process.load(Ordering::Acquire);
        (index != NO_PROCESS).then_some(index)
    }

    /// Writes a note: something a user should know that is no finding. Text is cut at
    /// [`NOTE_TEXT_BYTES`].
    pub fn note(&self, kind: NoteKind, value: u64, text: &[u8]) {
        let Some(at) = self.claim_record(size_of::<NoteRecord>(), RecordKind::Note) else { return };
        let text = &text[..text.len().min(NOTE_TEXT_BYTES)];
        self.put_u32(at + offset_of!(NoteRecord, note), kind as u32);
        self.put_u32(at + offset_of!(NoteRecord, text_len), text.len() as u32);
        self.put_u64(at + offset_of!(NoteRecord, value), value);
        self.mapping.store(at + offset_of!(NoteRecord, text), text);
        self.commit(at, RecordState::Complete);
    }

    /// Tells that `pid` is about to become the program at `path`, or to start it by posix_spawn. May be
    /// called in a vfork child. A path that is too long is cut at its start.
    pub fn exec_begin(&self, path: &[u8], pid: u32) -> Option<ExecToken> {
        let at = self.claim_record(size_of::<ExecRecord>(), RecordKind::Exec)?;
        let path = &path[path.len().saturating_sub(EXEC_PATH_BYTES)..];
        self.put_u32(at + offset_of!(ExecRecord, pid), pid);
        self.put_u32(at + offset_of!(ExecRecord, exec_state), ExecState::Attempted as u32);
        self.put_u32(at + offset_of!(ExecRecord, path_len), path.len() as u32);
        self.mapping.store(at + offset_of!(ExecRecord, path), path);
        self.commit(at, RecordState::Written);
        Some(ExecToken { offset: at })
    }

    /// Tells how an exec ended that came back: it failed with `error`, or it was a posix_spawn and the
    /// child is `child_pid`.
    pub fn exec_end(&self, token: ExecToken, state: ExecState, child_pid: u32, error: i32) {
        let at = token.offset;
        self.put_u32(at + offset_of!(ExecRecord, child_pid), child_pid);
        self.put_u32(at + offset_of!(ExecRecord, error), error as u32);
        self.put_u32(at + offset_of!(ExecRecord, exec_state), state as u32);
        self.commit(at, RecordState::Complete);
    }

    /// Claims `len` bytes (a multiple of 64) for a record and writes its head, but not its state. None if
    /// the file or the disk is full, which is counted.
    pub(crate) fn claim_record(&self, len: usize, kind: RecordKind) -> Option<usize> {
        let next = self.mapping.u64(offset_of!(FileHeader, record_next))?;
        let file_bytes = self.mapping.len() as u64;
        let at = next.fetch_add(len as u64, Ordering::Relaxed);
        let fits = at.checked_add(len as u64).is_some_and(|end| end <= file_bytes);
        if !fits || !make_room(self.mapping.base(), at as usize, len) {
            self.add_u64(offset_of!(FileHeader, dropped), 1);
            return None;
        }
        let at = at as usize;
        self.put_u32(at + offset_of!(RecordHeader, len), len as u32);
        self.put_u32(at + offset_of!(RecordHeader, kind), kind as u32);
        self.put_u32(at + offset_of!(RecordHeader, process), self.process.load(Ordering::Acquire));
        self.put_u32(at + offset_of!(RecordHeader, tid), sys::tid());
        self.put_u64(at + offset_of!(RecordHeader, time_ns), hk_os::now_ns());
        // The magic tells a reader that the length is there.
        if let Some(magic) = self.mapping.u32(at + offset_of!(RecordHeader, magic)) {
            magic.store(RECORD_MAGIC, Ordering::Release);
        }
        Some(at)
    }

    /// Sets a record's state: everything stored before is valid for whoever sees it.
    pub(crate) fn commit(&self, at: usize, state: RecordState) {
        if let Some(word) = self.mapping.u32(at + offset_of!(RecordHeader, state)) {
            word.store(state as u32, Ordering::Release);
        }
    }

    pub(crate) fn put_u32(&self, offset: usize, value: u32) {
        if let Some(field) = self.mapping.u32(offset) {
            field.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn put_u64(&self, offset: usize, value: u64) {
        if let Some(field) = self.mapping.u64(offset) {
            field.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_u32(&self, offset: usize, value: u32) {
        if let Some(field) = self.mapping.u32(offset) {
            field.fetch_add(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_u64(&self, offset: usize, value: u64) {
        if let Some(field) = self.mapping.u64(offset) {
            field.fetch_add(value, Ordering::Relaxed);
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}

/// Has the kernel back `len` bytes at `offset` of the mapping at `base`. A full disk then is an error here,
/// where touching a page would be SIGBUS. Kernels before 5.14 do not know the call (EINVAL), and sandboxes may forbid it:
/// there we go on and take the risk.
pub(crate) fn make_room(base: usize, offset: usize, len: usize) -> bool {
    let start = offset / PAGE_BYTES * PAGE_BYTES;
    let end = (offset + len).next_multiple_of(PAGE_BYTES);
    matches!(sys::populate_write(base + start, end - start), Ok(()) | Err(Errno(libc::EINVAL)))
}

#[allow(unsafe_code, reason = "hands a fresh mapping over")]
fn adopt(mapping: &Mapping, base: usize, len: usize) -> bool {
    // SAFETY: just mapped shared and writable over `len` bytes of a file at least that long; nobody else
    // knows the range, so that nobody unmaps it.
    unsafe { mapping.set(base, len) }
}

#[allow(unsafe_code, reason = "drops a fresh mapping")]
fn discard(base: usize, len: usize) {
    // SAFETY: the mapping was made just now and handed to nobody.
    unsafe { sys::unmap(base, len) }
}
