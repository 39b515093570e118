//! How the command asks a live process for something, and how the answer travels.
//!
//! Both have the recording mapped; there is no other way between them: no file, socket or descriptor. The command writes a request into one
//! word, which the heap's slow path looks at. The answer comes through a ring of bytes in the recording.
//!
//! ```text
//!              command            process           its frozen image
//! 0, Done, Refused ──▶ Asked ──▶ Taken ──────▶ Answering ──▶ Done, Refused
//!                                  └────────▶ Refused
//! Taken, Answering ──▶ Withdrawn ──────────────────────────▶ 0
//! ```
//!
//! One request at a time: who asks holds a lock on the recording's file (flock(2)), which is gone when it dies. Each step is a compare-and-swap
//! of the whole word, so that who is late changes nothing.

use crate::{PAGE_BYTES, PROCESS_TABLE_OFFSET, ProcessRecord, numbered};
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the ring; a power of two.
pub const RING_BYTES: usize = 1 << 20;
/// An image whose ring is full gives up when nothing was read for so long.
pub const READER_PATIENCE_MS: u32 = 10_000;

numbered! {
    /// How far a request has come.
    pub enum RequestState {
        /// There is none.
        None = 0,
        /// The process it is for has not seen it.
        Asked = 1,
        /// The process has seen it.
        Taken = 2,
        /// The answer is coming.
        Answering = 3,
        /// All of the answer was written.
        Done = 4,
        /// There is no answer, or no more of it: see [`Control::reason`].
        Refused = 5,
        /// The command does not want the answer any more. Whoever writes it makes the word 0, and writes no more.
        Withdrawn = 6,
    }
}

numbered! {
    /// What is asked for.
    pub enum RequestVerb {
        /// A snapshot, see [`crate::SnapshotHeader`].
        Snapshot = 1,
    }
}

numbered! {
    /// Why there is no answer.
    pub enum Refusal {
        /// The request contradicts itself.
        Malformed = 1,
        /// It asks for what this version does not know.
        UnknownVerb = 2,
        /// The process of that number in the table has another id.
        OtherProcess = 3,
        /// A sandbox of the program's forbids it.
        Sandbox = 4,
        /// A thread did not stop in time: detail is its id.
        ThreadNoAnswer = 5,
        /// Another scan was going on.
        ScanGoesOn = 6,
        /// There are more threads than can be stopped.
        TooManyThreads = 7,
        /// Threads could not be signalled.
        NoSignals = 8,
        /// Threads could not be listed.
        NoThreadList = 9,
        /// There was no memory for it.
        NoMemory = 10,
        /// The process could not be forked: detail is an errno.
        NoFork = 11,
        /// The kernel has no close_range(2) that unshares.
        NoCloseRange = 12,
        /// There is no room for the answer where the recording lies.
        NoRoom = 13,
        /// Mappings could not be listed, or memory not be read.
        NoMappings = 14,
        /// Nobody read the answer for [`READER_PATIENCE_MS`].
        NoReader = 15,
        /// The image was killed: detail is the signal.
        Killed = 16,
        /// The program ended, or became another one.
        Ended = 17,
    }
}

/// The word by which a request is made, taken, and told of.
///
/// From the lowest bit: 4 of state, 8 of verb, 20 of the process's index in the table, 32 of a number that no two requests share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestWord(pub u64);

const VERB_SHIFT: u32 = 4;
const PROCESS_SHIFT: u32 = 12;
const PROCESS_BITS: u32 = 20;
const SEQUENCE_SHIFT: u32 = 32;

impl RequestWord {
    /// There is no request.
    pub const NONE: RequestWord = RequestWord(0);

    /// A request to the process with an index.
    pub const fn new(verb: RequestVerb, process: u32, sequence: u32) -> Self {
        let process = (process as u64 & ((1 << PROCESS_BITS) - 1)) << PROCESS_SHIFT;
        let word = (verb as u64) << VERB_SHIFT | process | (sequence as u64) << SEQUENCE_SHIFT;
        RequestWord(word).with(RequestState::Asked)
    }

    /// The same in another state.
    pub const fn with(self, state: RequestState) -> Self {
        RequestWord(self.0 & !0xF | state as u64)
    }

    /// How far it has come; None for a number that is no state.
    pub const fn state(self) -> Option<RequestState> {
        RequestState::from_u32((self.0 & 0xF) as u32)
    }

    /// What is asked for; None if this version does not know it.
    pub const fn verb(self) -> Option<RequestVerb> {
        RequestVerb::from_u32((self.0 >> VERB_SHIFT & 0xFF) as u32)
    }

    /// Index of the process that is asked.
    pub const fn process(self) -> u32 {
        (self.0 >> PROCESS_SHIFT) as u32 & ((1 << PROCESS_BITS) - 1)
    }

    /// Its number.
    pub const fn sequence(self) -> u32 {
        (self.0 >> SEQUENCE_SHIFT) as u32
    }

    /// Whether somebody still has to do something about it.
    pub const fn is_open(self) -> bool {
        matches!(self.state(), Some(RequestState::Asked | RequestState::Taken | RequestState::Answering))
    }

    /// What the process of the table's entry `process`, with that id, has to say to a request that is asked: nothing if it is for another one,
    /// or a reason to refuse it. `known` is how many entries the table has, and `pid` the id that the request names.
    pub fn judge(self, process: u32, own_pid: u32, known: u32, pid: u32) -> Judged {
        match self.state() {
            // Nobody's: whoever comes first.
            None => return Judged::Refused(Refusal::Malformed),
            Some(RequestState::Asked) => {}
            Some(_) => return Judged::NotForUs,
        }
        if self.process() >= known || self.sequence() == 0 {
            return Judged::Refused(Refusal::Malformed);
        }
        if self.process() != process {
            return Judged::NotForUs;
        }
        if pid != own_pid {
            return Judged::Refused(Refusal::OtherProcess);
        }
        match self.verb() {
            Some(verb) => Judged::ForUs(verb),
            None => Judged::Refused(Refusal::UnknownVerb),
        }
    }
}

/// See [`RequestWord::judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Another process's affair, or nothing is asked.
    NotForUs,
    /// To be done.
    ForUs(RequestVerb),
    /// To be refused.
    Refused(Refusal),
}

/// What goes with the request's word, in the recording's first page. All are accessed atomically.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Control {
    /// By the command: the id of the process that is asked, as that sees itself.
    pub pid: u32,
    /// Its own.
    pub reader_pid: u32,
    /// By the process: a [`Refusal`].
    pub reason: u32,
    /// Goes up while an answer is worked at.
    pub beat: u32,
    /// A number whose meaning the reason tells.
    pub detail: u64,
    /// How long the program's threads stood still, in nanoseconds; 0: they still do.
    pub stop_ns: u64,
    /// Filler.
    pub reserved: [u64; 4],
    /// Bytes that were written to the ring, modulo 2^32. Waited for by futex(2), as is the next.
    pub written: u32,
    /// Filler up to a cache line of its own.
    pub reserved_written: [u32; 15],
    /// Bytes that were read from it, likewise.
    pub read: u32,
    /// Filler.
    pub reserved_read: [u32; 15],
}

const _: () = assert!(offset_of!(Control, written) == 64 && offset_of!(Control, read) == 128);

/// Where the ring begins in a recording with a table of `process_capacity` entries: between that and the records.
pub const fn ring_offset(process_capacity: u32) -> u64 {
    let table_end = PROCESS_TABLE_OFFSET + process_capacity as usize * size_of::<ProcessRecord>();
    table_end.next_multiple_of(PAGE_BYTES) as u64
}

/// The part of a ring that is in use, by what was written and read so far: how many bytes wait to be read. None if that can't be.
pub const fn ring_bytes_waiting(written: u32, read: u32) -> Option<usize> {
    let waiting = written.wrapping_sub(read) as usize;
    if waiting <= RING_BYTES { Some(waiting) } else { None }
}

/// The piece of the ring from a position on that lies in one part: where it begins, and how many of `bytes` it has.
pub const fn ring_piece(position: u32, bytes: usize) -> (usize, usize) {
    let start = position as usize % RING_BYTES;
    let rest = RING_BYTES - start;
    (start, if bytes < rest { bytes } else { rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: RequestWord = RequestWord::new(RequestVerb::Snapshot, 0xF_FFFF, u32::MAX);

    #[test]
    fn a_word_holds_all_of_a_request() {
        for state in [RequestState::Asked, RequestState::Withdrawn, RequestState::Done] {
            let word = ASKED.with(state);
            assert_eq!(word.state(), Some(state));
            assert_eq!((word.process(), word.sequence()), (0xF_FFFF, u32::MAX));
            assert_eq!(word.verb(), Some(RequestVerb::Snapshot));
        }
        assert!(RequestWord::NONE.state() == Some(RequestState::None) && !RequestWord::NONE.is_open());
    }

    #[test]
    fn a_request_is_for_one_process_or_refused() {
        let word = RequestWord::new(RequestVerb::Snapshot, 3, 7);
        let judge = |word: RequestWord, process, pid| word.judge(process, 55, 9, pid);
        assert_eq!(judge(word, 3, 55), Judged::ForUs(RequestVerb::Snapshot));
        assert_eq!(judge(word, 4, 55), Judged::NotForUs);
        assert_eq!(judge(word, 3, 56), Judged::Refused(Refusal::OtherProcess));
        for state in [RequestState::None, RequestState::Taken, RequestState::Refused, RequestState::Withdrawn]
        {
            assert_eq!(judge(word.with(state), 3, 55), Judged::NotForUs);
        }
        let malformed = Judged::Refused(Refusal::Malformed);
        assert_eq!(judge(RequestWord::new(RequestVerb::Snapshot, 9, 7), 3, 55), malformed);
        assert_eq!(judge(RequestWord::new(RequestVerb::Snapshot, 3, 0), 3, 55), malformed);
        assert_eq!(judge(RequestWord(word.0 | 0xF), 3, 55), malformed);
        let unknown = RequestWord(word.0 | 0xFE << VERB_SHIFT);
        assert_eq!(judge(unknown, 3, 55), Judged::Refused(Refusal::UnknownVerb));
    }

    #[test]
    fn positions_in_the_ring_wrap() {
        assert_eq!(ring_bytes_waiting(5, 0xFFFF_FFFB), Some(10));
        assert_eq!(ring_bytes_waiting(0, 1), None);
        assert_eq!(ring_bytes_waiting(RING_BYTES as u32, 0), Some(RING_BYTES));
        assert_eq!(ring_piece(RING_BYTES as u32 - 3, 10), (RING_BYTES - 3, 3));
        assert_eq!(ring_piece(RING_BYTES as u32, 10), (0, 10));
    }
}
