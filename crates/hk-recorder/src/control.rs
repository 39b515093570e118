//! Requests of the command to this process, and the way of the answer ([`hk_format::Control`]).

use crate::recording::{Recording, make_room};
use crate::sys;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hk_format::{
    Control, FileHeader, Judged, PROCESS_TABLE_OFFSET, ProcessRecord, READER_PATIENCE_MS, RING_BYTES,
    Refusal, RequestState, RequestWord, ring_bytes_waiting, ring_offset, ring_piece,
};

/// A writer that waits for room looks again after so long whether it is still wanted.
const SLEEP_MS_MAX: u32 = 50;
const WORD_BYTES: usize = size_of::<u64>();

/// Where a field of [`Control`] lies in the file.
const fn at(field: usize) -> usize {
    offset_of!(FileHeader, control) + field
}

impl Recording {
    /// The word that requests are made by, if the recording is open; for as long as the process lasts.
    pub fn request_word(&self) -> Option<&AtomicU64> {
        self.mapping.u64(offset_of!(FileHeader, request))
    }

    /// The control word: what the `heapkeeper` command asks for; 0 is nothing.
    pub fn request(&self) -> u64 {
        self.request_word().map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// What this process has to do about a request.
    pub fn judge_request(&self, word: RequestWord) -> Judged {
        let Some(process) = self.process_index() else { return Judged::NotForUs };
        let load = |offset| self.mapping.u32(offset).map_or(0, |field| field.load(Ordering::Relaxed));
        let capacity = load(offset_of!(FileHeader, process_capacity));
        let known = load(offset_of!(FileHeader, process_next)).min(capacity);
        let own = PROCESS_TABLE_OFFSET + process as usize * size_of::<ProcessRecord>();
        let own_pid = load(own + offset_of!(ProcessRecord, pid));
        word.judge(process, own_pid, known, load(at(offset_of!(Control, pid))))
    }

    /// Brings a request a step further; false if it is not in the state that `from` says.
    pub fn step_request(&self, from: RequestWord, to: RequestWord) -> bool {
        // Acquire: what came with the request is seen. Release: what was done about it before is.
        self.request_word().is_some_and(|word| {
            word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// Ends a request without an answer; by whoever has taken it, whatever became of it since.
    pub fn refuse_request(&self, word: RequestWord, reason: Refusal, detail: u64) {
        self.put_u32(at(offset_of!(Control, reason)), reason as u32);
        self.put_u64(at(offset_of!(Control, detail)), detail);
        let _ = self.step_request(word.with(RequestState::Taken), word.with(RequestState::Refused))
            || self.step_request(word.with(RequestState::Answering), word.with(RequestState::Refused))
            || self.step_request(word.with(RequestState::Withdrawn), RequestWord::NONE);
        // The command sleeps until something comes.
        self.wake_reader();
    }

    /// Prepares for an answer. False if there is no room for it where the recording lies.
    pub fn prepare_answer(&self) -> bool {
        self.put_u64(at(offset_of!(Control, stop_ns)), 0);
        self.put_u32(at(offset_of!(Control, written)), 0);
        self.put_u32(at(offset_of!(Control, read)), 0);
        make_room(self.mapping.base(), self.ring(), RING_BYTES)
    }

    /// Tells for how long the program stood still.
    pub fn set_stop_ns(&self, stop_ns: u64) {
        if let Some(field) = self.mapping.u64(at(offset_of!(Control, stop_ns))) {
            field.store(stop_ns.max(1), Ordering::Release);
        }
    }

    /// What [`Recording::set_stop_ns`] told; 0: nothing yet.
    pub fn stop_ns(&self) -> u64 {
        self.mapping.u64(at(offset_of!(Control, stop_ns))).map_or(0, |field| field.load(Ordering::Acquire))
    }

    /// When this process's entry was made, nanoseconds since 1970; 0 if it has none.
    pub fn process_start_ns(&self) -> u64 {
        let Some(process) = self.process_index() else { return 0 };
        let own = PROCESS_TABLE_OFFSET + process as usize * size_of::<ProcessRecord>();
        let start = self.mapping.u64(own + offset_of!(ProcessRecord, start_ns));
        start.map_or(0, |field| field.load(Ordering::Relaxed))
    }

    /// Begins the answer to a request that was taken; by the image of the process with the id `parent`. None if it is not wanted any more.
    pub fn begin_answer(&self, word: RequestWord, parent: u32) -> Option<Answer<'_>> {
        let answering = word.with(RequestState::Answering);
        self.step_request(word.with(RequestState::Taken), answering).then_some(Answer {
            recording: self,
            word: answering,
            parent,
            written: 0,
        })
    }

    fn ring(&self) -> usize {
        let capacity = self.mapping.u32(offset_of!(FileHeader, process_capacity));
        ring_offset(capacity.map_or(0, |field| field.load(Ordering::Relaxed))) as usize
    }

    fn wake_reader(&self) {
        if let Some(word) = self.mapping.u32(at(offset_of!(Control, written))) {
            sys::wake_shared(word);
        }
    }
}

/// Why an answer goes on no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// Nobody reads it.
    NoReader,
    /// The process has ended.
    Ended,
    /// The request was withdrawn, or is another's by now.
    Withdrawn,
}

/// An answer that is being written.
pub struct Answer<'a> {
    recording: &'a Recording,
    word: RequestWord,
    /// The process whose image this is.
    parent: u32,
    written: u32,
}

impl Answer<'_> {
    /// Says that work goes on, and looks whether it is wanted. To be called every few milliseconds.
    ///
    /// # Errors
    /// Why it is not.
    pub fn go_on(&self) -> Result<(), Unwanted> {
        self.recording.add_u32(at(offset_of!(Control, beat)), 1);
        if self.recording.request() != self.word.0 {
            return Err(Unwanted::Withdrawn);
        }
        if sys::parent_pid() == self.parent { Ok(()) } else { Err(Unwanted::Ended) }
    }

    /// Writes to the ring, as there is room.
    ///
    /// # Errors
    /// Why it is not wanted any more.
    pub fn write(&mut self, words: &[u64]) -> Result<(), Unwanted> {
        let mut rest = words;
        while !rest.is_empty() {
            let room = self.wait_for_room()?;
            let (start, bytes) = ring_piece(self.written, room.min(size_of_val(rest)));
            let (now, later) = rest.split_at(bytes / WORD_BYTES);
            let ring = self.recording.ring() + start;
            for (nth, &word) in now.iter().enumerate() {
                self.recording.put_u64(ring + nth * WORD_BYTES, word);
            }
            self.written = self.written.wrapping_add(bytes as u32);
            if let Some(written) = self.written_word() {
                // Release: who sees that it was written sees what.
                written.store(self.written, Ordering::Release);
                sys::wake_shared(written);
            }
            rest = later;
        }
        Ok(())
    }

    /// All was written.
    pub fn end(self) {
        let done = self.word.with(RequestState::Done);
        if !self.recording.step_request(self.word, done) {
            self.give_up(Unwanted::Withdrawn);
        }
        self.recording.wake_reader();
    }

    /// It goes on no further.
    pub fn give_up(&self, why: Unwanted) {
        let reason = if why == Unwanted::NoReader { Refusal::NoReader } else { Refusal::Ended };
        self.refuse(reason);
    }

    /// It could not be finished.
    pub fn refuse(&self, reason: Refusal) {
        self.recording.refuse_request(self.word, reason, 0);
    }

    fn written_word(&self) -> Option<&AtomicU32> {
        self.recording.mapping.u32(at(offset_of!(Control, written)))
    }

    /// Bytes that there is room for: at least a word's.
    fn wait_for_room(&self) -> Result<usize, Unwanted> {
        let word = self.recording.mapping.u32(at(offset_of!(Control, read))).ok_or(Unwanted::Withdrawn)?;
        let until_ns = hk_os::monotonic_ns() + u64::from(READER_PATIENCE_MS) * 1_000_000;
        loop {
            self.go_on()?;
            // Acquire: who sees that it was read may write there.
            let read = word.load(Ordering::Acquire);
            // A reader that counts wrongly is none.
            let waiting = ring_bytes_waiting(self.written, read).ok_or(Unwanted::NoReader)?;
            let room = (RING_BYTES - waiting) / WORD_BYTES * WORD_BYTES;
            if room > 0 {
                return Ok(room);
            }
            if hk_os::monotonic_ns() > until_ns {
                return Err(Unwanted::NoReader);
            }
            sys::wait_shared(word, read, SLEEP_MS_MAX);
        }
    }
}
