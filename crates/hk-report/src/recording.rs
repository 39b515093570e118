//! Reads a recording, which may still be written to, and may be torn.

use hk_format::{
    ExecRecord, FileHeader, FindingRecord, MAGIC, NoteRecord, PROCESS_TABLE_OFFSET, ProcessRecord,
    ProcessState, RECORD_MAGIC, RecordHeader, RecordKind, RecordState, VERSION,
};
use std::fmt;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Records begin at multiples of this, in bytes.
const RECORD_ALIGN: u64 = 64;

/// Why a file could not be read as a recording; its text is one line that says what to do.
#[derive(Debug)]
pub enum RecordingError {
    /// The file cannot be opened or read.
    Io(PathBuf, io::Error),
    /// It is no recording.
    NotARecording(PathBuf),
    /// It was written by a heapkeeper with another layout.
    OtherVersion(PathBuf, u32),
    /// Its header contradicts itself.
    Damaged(PathBuf),
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read the recording {}: {error}", path.display()),
            Self::NotARecording(path) => write!(
                f,
                "{} is not a recording of heapkeeper: give a file that `heapkeeper run --record` wrote",
                path.display()
            ),
            Self::OtherVersion(path, version) => write!(
                f,
                "the recording {} has version {version}, this heapkeeper reads version {VERSION}: use the \
                 heapkeeper that made it",
                path.display()
            ),
            Self::Damaged(path) => {
                write!(f, "the header of the recording {} is damaged: record again", path.display())
            }
        }
    }
}

impl std::error::Error for RecordingError {}

/// An open recording.
#[derive(Debug)]
pub struct Recording {
    file: File,
    path: PathBuf,
}

/// What a record tells.
#[derive(Clone, Debug)]
pub enum Body {
    /// A bad call.
    Finding(Box<FindingRecord>),
    /// A program was about to be replaced or started.
    Exec(Box<ExecRecord>),
    /// Something else that a user should know.
    Note(Box<NoteRecord>),
}

/// One record whose body is valid.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it lies, in bytes from the start of the file.
    pub offset: u64,
    /// Whether more may still be written into it.
    pub state: RecordState,
    /// Its head.
    pub header: RecordHeader,
    /// The rest.
    pub body: Body,
}

/// All that a recording holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// In the order of the file.
    pub records: Vec<Record>,
    /// Records that were begun and whose body never became valid.
    pub torn: u64,
}

/// What lies at an offset.
pub(crate) enum Step {
    /// A record of this length; None if its body is not valid (yet), or its kind unknown.
    Record(Option<Record>, u64),
    /// Claimed, but the length was not written (yet).
    Hole,
    /// No more records.
    End,
}

impl Recording {
    /// Opens and checks a recording.
    pub fn open(path: &Path) -> Result<Recording, RecordingError> {
        let file = File::open(path).map_err(|e| RecordingError::Io(path.into(), e))?;
        Recording::from_file(file, path)
    }

    /// Checks an open file; `path` is for messages.
    pub fn from_file(file: File, path: &Path) -> Result<Recording, RecordingError> {
        let recording = Recording { file, path: path.into() };
        let header = recording.header()?;
        if header.magic != MAGIC {
            return Err(RecordingError::NotARecording(path.into()));
        }
        if header.version != VERSION {
            return Err(RecordingError::OtherVersion(path.into(), header.version));
        }
        if !header.is_valid() {
            return Err(RecordingError::Damaged(path.into()));
        }
        Ok(recording)
    }

    /// The header as it is now. A file that is too short gives zeros.
    pub fn header(&self) -> Result<FileHeader, RecordingError> {
        let header = self.read(0).map_err(|e| RecordingError::Io(self.path.clone(), e))?;
        // No check accepts zeros.
        Ok(header.unwrap_or_else(FileHeader::new_zeroed))
    }

    /// The processes of the run with their index, as they are now.
    pub fn processes(&self) -> Result<Vec<(u32, ProcessRecord)>, RecordingError> {
        let header = self.header()?;
        let claimed = header.process_next.min(header.process_capacity);
        // In one read: a build has thousands of processes.
        let mut table = vec![0; claimed as usize * size_of::<ProcessRecord>()];
        let present = self.read_up_to(&mut table, PROCESS_TABLE_OFFSET as u64)?;
        let entries = table[..present].chunks_exact(size_of::<ProcessRecord>());
        let records = entries.filter_map(|entry| ProcessRecord::read_from_bytes(entry).ok());
        let numbered = (0..).zip(records);
        Ok(numbered.filter(|(_, record)| record.state != ProcessState::Unused as u32).collect())
    }

    /// Fills the buffer as far as the file reaches; gives how far.
    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> Result<usize, RecordingError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(RecordingError::Io(self.path.clone(), error)),
            }
        }
        Ok(filled)
    }

    /// Every record whose body is valid, stepping over torn ones.
    pub fn records(&self) -> Result<Records, RecordingError> {
        let end = self.records_end()?;
        let mut offset = self.header()?.records_offset;
        let mut all = Records::default();
        let mut in_hole = false;
        loop {
            match self.step(offset, end)? {
                Step::Record(record, len) => {
                    in_hole = false;
                    match record {
                        Some(record) => all.records.push(record),
                        None => all.torn += 1,
                    }
                    offset += len;
                }
                Step::Hole => {
                    all.torn += u64::from(!in_hole);
                    in_hole = true;
                    offset += RECORD_ALIGN;
                }
                Step::End => return Ok(all),
            }
        }
    }

    /// Where the claimed records end: what the header says, cut to what the file can hold.
    pub(crate) fn records_end(&self) -> Result<u64, RecordingError> {
        let header = self.header()?;
        let file_bytes = self.file.metadata().map_err(|e| RecordingError::Io(self.path.clone(), e))?.len();
        Ok(header.record_next.min(header.file_bytes).min(file_bytes))
    }

    /// Bytes at the end that are not there any more: the file was cut, as by a copy that did not finish.
    pub fn missing_bytes(&self) -> Result<u64, RecordingError> {
        let present = self.file.metadata().map_err(|e| RecordingError::Io(self.path.clone(), e))?.len();
        Ok(self.header()?.file_bytes.saturating_sub(present))
    }

    /// What lies at `offset`, when records end at `end`.
    pub(crate) fn step(&self, offset: u64, end: u64) -> Result<Step, RecordingError> {
        self.try_step(offset, end).map_err(|e| RecordingError::Io(self.path.clone(), e))
    }

    fn try_step(&self, offset: u64, end: u64) -> io::Result<Step> {
        if offset + size_of::<RecordHeader>() as u64 > end {
            return Ok(Step::End);
        }
        let Some(header) = self.read::<RecordHeader>(offset)? else { return Ok(Step::End) };
        let len = u64::from(header.len);
        let plausible = header.magic == RECORD_MAGIC && len > 0 && len % RECORD_ALIGN == 0;
        if !plausible || offset + len > end {
            return Ok(Step::Hole);
        }
        Ok(Step::Record(self.body(offset, header)?, len))
    }

    /// The state is read with the header, before the body: what it promises is then there.
    fn body(&self, offset: u64, header: RecordHeader) -> io::Result<Option<Record>> {
        let Some(state) = RecordState::from_u32(header.state) else { return Ok(None) };
        if state == RecordState::Claimed {
            return Ok(None);
        }
        let len = header.len as usize;
        let body = match RecordKind::from_u32(header.kind) {
            Some(RecordKind::Finding) if len >= size_of::<FindingRecord>() => {
                self.read(offset)?.map(|record| Body::Finding(Box::new(record)))
            }
            Some(RecordKind::Exec) if len >= size_of::<ExecRecord>() => {
                self.read(offset)?.map(|record| Body::Exec(Box::new(record)))
            }
            Some(RecordKind::Note) if len >= size_of::<NoteRecord>() => {
                self.read(offset)?.map(|record| Body::Note(Box::new(record)))
            }
            _ => None,
        };
        Ok(body.map(|body| Record { offset, state, header, body }))
    }

    /// A plain value at an offset; None where the file ends before its end.
    fn read<T: FromBytes + IntoBytes + FromZeros>(&self, offset: u64) -> io::Result<Option<T>> {
        let mut value = T::new_zeroed();
        match self.file.read_exact_at(value.as_mut_bytes(), offset) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}
