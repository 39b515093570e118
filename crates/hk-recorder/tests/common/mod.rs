//! A recording as the command makes it, and a look into it as the command has it.
#![allow(dead_code, reason = "each test uses its part")]

use hk_format::{FileHeader, FindingRecord, ProcessRecord, RECORD_MAGIC, RecordHeader, RecordKind};
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use zerocopy::{FromBytes, IntoBytes};

/// A recording in a file of its own, removed at the end.
pub struct TestFile {
    pub path: PathBuf,
    file: File,
}

impl TestFile {
    pub fn new(file_bytes: u64, process_capacity: u32) -> TestFile {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hk-recorder-{}-{number}", std::process::id());
        TestFile::at(&std::env::temp_dir().join(name), file_bytes, process_capacity)
    }

    pub fn at(path: &Path, file_bytes: u64, process_capacity: u32) -> TestFile {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.write_all_at(FileHeader::new(file_bytes, process_capacity, 1).as_bytes(), 0).unwrap();
        file.set_len(file_bytes).unwrap();
        TestFile { path: path.to_path_buf(), file }
    }

    pub fn c_path(&self) -> CString {
        CString::new(self.path.as_os_str().as_bytes()).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    pub fn header(&self) -> FileHeader {
        FileHeader::read_from_prefix(&self.bytes()).unwrap().0
    }

    pub fn process(&self, index: usize) -> ProcessRecord {
        let at = hk_format::PROCESS_TABLE_OFFSET + index * size_of::<ProcessRecord>();
        ProcessRecord::read_from_prefix(&self.bytes()[at..]).unwrap().0
    }

    /// The bytes of all records of a kind, in order.
    pub fn records<T: FromBytes>(&self, kind: RecordKind) -> Vec<T> {
        let bytes = self.bytes();
        let header = self.header();
        let end = header.record_next.min(header.file_bytes) as usize;
        let mut at = header.records_offset as usize;
        let mut records = Vec::new();
        while at < end {
            let (head, _) = RecordHeader::read_from_prefix(&bytes[at..]).unwrap();
            if head.magic != RECORD_MAGIC {
                at += 64;
                continue;
            }
            if head.kind == kind as u32 {
                records.push(T::read_from_prefix(&bytes[at..]).ok().unwrap().0);
            }
            at += head.len as usize;
        }
        records
    }

    pub fn findings(&self) -> Vec<FindingRecord> {
        self.records(RecordKind::Finding)
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An open recording that lives as long as the process, as the library's does.
pub fn open(path: &CStr) -> &'static hk_recorder::Recording {
    let recording: &'static hk_recorder::Recording = Box::leak(Box::new(hk_recorder::Recording::new()));
    recording.open(path).unwrap();
    recording
}
