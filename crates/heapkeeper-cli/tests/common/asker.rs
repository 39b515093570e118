//! A request by hand: the control words of a recording, written and read through its file.

use super::*;
use hk_format::{
    CONTROL_OFFSET, Control, FileHeader, PROCESS_TABLE_OFFSET, ProcessRecord, RING_BYTES, RequestState,
    RequestVerb, RequestWord, ring_offset, ring_piece,
};
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use zerocopy::FromBytes;

/// See the module head.
pub struct Asker {
    file: File,
    capacity: u32,
    /// The process's index in the table, and its id.
    pub index: u32,
    pub pid: u32,
}

/// The only recording in a folder.
pub fn recording_in(folder: &Path) -> PathBuf {
    let mut found = None;
    wait_until("there is a recording", || {
        let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        found = entries.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "hkrec"));
        found.is_some()
    });
    found.unwrap()
}

impl Asker {
    /// Of a process whose recording is in a folder.
    pub fn new(folder: &Path, pid: u32) -> Asker {
        let file = File::options().read(true).write(true).open(recording_in(folder)).unwrap();
        let mut head = vec![0; size_of::<FileHeader>()];
        file.read_exact_at(&mut head, 0).unwrap();
        let capacity = FileHeader::read_from_bytes(&head).unwrap().process_capacity;
        let mut index = None;
        wait_until("the process has an entry", || {
            let mut entry = vec![0; size_of::<ProcessRecord>()];
            index = (0..64).find(|index| {
                let at = PROCESS_TABLE_OFFSET + *index as usize * entry.len();
                file.read_exact_at(&mut entry, at as u64).unwrap();
                let record = ProcessRecord::read_from_bytes(&entry).unwrap();
                record.pid == pid && record.state == 1
            });
            index.is_some()
        });
        Asker { file, capacity, index: index.unwrap(), pid }
    }

    pub fn get(&self, field: usize) -> u32 {
        let mut bytes = [0; 4];
        let at = offset_of!(FileHeader, control) + field;
        self.file.read_exact_at(&mut bytes, at as u64).unwrap();
        u32::from_le_bytes(bytes)
    }

    pub fn put(&self, field: usize, value: u32) {
        let at = offset_of!(FileHeader, control) + field;
        self.file.write_all_at(&value.to_le_bytes(), at as u64).unwrap();
    }

    pub fn word(&self) -> RequestWord {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, CONTROL_OFFSET as u64).unwrap();
        RequestWord(u64::from_le_bytes(bytes))
    }

    pub fn set_word(&self, word: RequestWord) {
        self.file.write_all_at(&word.0.to_le_bytes(), CONTROL_OFFSET as u64).unwrap();
    }

    /// Asks for a snapshot.
    pub fn ask(&self) {
        self.put(offset_of!(Control, pid), self.pid);
        self.put(offset_of!(Control, written), 0);
        self.put(offset_of!(Control, read), 0);
        self.set_word(RequestWord::new(RequestVerb::Snapshot, self.index, 77));
    }

    /// Waits until the image can't go on, as nobody reads.
    pub fn wait_until_full(&self) {
        wait_until("the ring is full", || {
            let waiting = self.written().wrapping_sub(self.get(offset_of!(Control, read)));
            self.word().state() == Some(RequestState::Answering) && waiting == RING_BYTES as u32
        });
    }

    fn written(&self) -> u32 {
        self.get(offset_of!(Control, written))
    }

    /// Reads the answer to its end.
    pub fn read(&self) -> Vec<u8> {
        let mut all = Vec::new();
        wait_until("all was read", || {
            let state = self.word().state();
            let waiting = self.written().wrapping_sub(all.len() as u32) as usize;
            let (start, bytes) = ring_piece(all.len() as u32, waiting);
            let mut piece = vec![0; bytes];
            self.file.read_exact_at(&mut piece, ring_offset(self.capacity) + start as u64).unwrap();
            all.extend(piece);
            self.put(offset_of!(Control, read), all.len() as u32);
            bytes == 0 && state == Some(RequestState::Done)
        });
        all
    }
}
