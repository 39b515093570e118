//! A request to a live process, and the answer as it comes.

use super::reach::{Reached, is_running};
use super::shared::{BEAT, PID, READ, READER, REASON, Shared, WRITTEN};
use crate::{Failure, os};
use hk_format::{Refusal, RequestState, RequestVerb, RequestWord, ring_bytes_waiting, ring_piece};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a process may take to see a request.
const ASKING_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may make no progress.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long an image may take to see that it is not wanted any more.
const WITHDRAWAL_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at what else may have happened.
const LOOK: Duration = Duration::from_millis(5);

/// See the module head. A request that has no whole answer yet is withdrawn on drop.
pub struct Channel {
    shared: Shared,
    pid: u32,
    word: RequestWord,
    /// Bytes that were read, modulo 2^32.
    read: u32,
    signals: os::Signals,
    progress: Progress,
    ended: bool,
}

/// When something came last.
struct Progress {
    at: Instant,
    beat: u32,
}

/// A signal came that would have ended this process.
#[derive(Debug)]
struct Interrupted(i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", os::signal_name(self.0))
    }
}

impl std::error::Error for Interrupted {}

/// The signal by which the reading was interrupted.
pub fn interruption(error: &io::Error) -> Option<u8> {
    let inner = error.get_ref()?.downcast_ref::<Interrupted>()?;
    u8::try_from(inner.0).ok()
}

impl Channel {
    /// Asks a process for a snapshot, and waits until it has seen that.
    pub fn ask(process: &Reached) -> Result<Channel, Failure> {
        let pid = process.pid;
        let unusable = |error: io::Error| {
            Failure::new(format!("process {pid} cannot be asked: {}: {error}", process.path.display()))
        };
        let file = process.file.try_clone().map_err(unusable)?;
        let shared = Shared::map(file, process.capacity).map_err(unusable)?;
        if !shared.lock().map_err(unusable)? {
            let other = shared.word(READER).load(Ordering::Relaxed);
            return Err(Failure::new(format!(
                "process {pid} is busy: heapkeeper, process {other}, is asking it or another one of its recording; try \
                 again when that is done"
            )));
        }
        end_former(&shared);
        // Never 0, and nobody's before.
        let sequence = RandomState::new().hash_one(pid) as u32 | 1;
        let word = RequestWord::new(RequestVerb::Snapshot, process.index, sequence);
        shared.word(PID).store(process.record.pid, Ordering::Relaxed);
        shared.word(READER).store(std::process::id(), Ordering::Relaxed);
        shared.word(WRITTEN).store(0, Ordering::Relaxed);
        shared.word(READ).store(0, Ordering::Relaxed);
        // Release: who sees the request sees what belongs to it.
        shared.request().store(word.0, Ordering::Release);
        let progress = Progress { at: Instant::now(), beat: 0 };
        let signals = os::Signals::take_over();
        let mut channel = Channel { shared, pid, word, read: 0, signals, progress, ended: false };
        channel.wait_until_seen().map_err(|error| super::failed(pid, &error))?;
        Ok(channel)
    }

    fn wait_until_seen(&mut self) -> io::Result<()> {
        let start = Instant::now();
        while self.state() == Some(RequestState::Asked) {
            self.look_round()?;
            if start.elapsed() > ASKING_PATIENCE {
                let seconds = ASKING_PATIENCE.as_secs();
                return Err(io::Error::other(format!(
                    "{} did not allocate for {seconds} s, so it has not seen the request",
                    self.pid
                )));
            }
            std::thread::sleep(LOOK);
        }
        self.progress.at = Instant::now();
        Ok(())
    }

    /// How far the request has come; None if the word is another's.
    fn state(&self) -> Option<RequestState> {
        let word = RequestWord(self.shared.request().load(Ordering::Acquire));
        let state = word.state()?;
        (word == self.word.with(state)).then_some(state)
    }

    /// What else may have happened.
    fn look_round(&mut self) -> io::Result<()> {
        while let Some(arrived) = self.signals.next(Duration::ZERO) {
            if [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&arrived.signal) {
                return Err(io::Error::other(Interrupted(arrived.signal)));
            }
        }
        if !is_running(self.pid) && !matches!(self.state(), Some(RequestState::Done | RequestState::Refused))
        {
            return Err(io::Error::other("it has ended"));
        }
        Ok(())
    }

    /// Waits for more.
    fn wait(&mut self, written: u32) -> io::Result<()> {
        self.look_round()?;
        let beat = self.shared.word(BEAT).load(Ordering::Relaxed);
        if beat != self.progress.beat {
            self.progress = Progress { at: Instant::now(), beat };
        }
        if self.progress.at.elapsed() > ANSWER_PATIENCE {
            let seconds = ANSWER_PATIENCE.as_secs();
            return Err(io::Error::other(format!("the answer stopped: nothing came for {seconds} s")));
        }
        self.shared.wait(WRITTEN, written, LOOK);
        Ok(())
    }

    fn refusal(&self) -> io::Error {
        let reason = Refusal::from_u32(self.shared.word(REASON).load(Ordering::Relaxed));
        io::Error::other(tell(reason, self.shared.detail()))
    }

    /// Gives the answer up, or says that all of it was read.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            withdraw(&self.shared, self.word);
            self.shared.empty_ring();
        }
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Before what was written: when all is said to be, it is.
            let state = self.state();
            let written = self.shared.word(WRITTEN).load(Ordering::Acquire);
            let waiting = ring_bytes_waiting(written, self.read);
            let waiting = waiting.ok_or_else(|| io::Error::other("the process counts wrongly"))?;
            if waiting > 0 && state != Some(RequestState::Asked) {
                let (start, bytes) = ring_piece(self.read, waiting.min(buffer.len()));
                self.shared.copy_from_ring(start, &mut buffer[..bytes]);
                self.read = self.read.wrapping_add(bytes as u32);
                // Release: what was read may be written over.
                self.shared.word(READ).store(self.read, Ordering::Release);
                self.shared.wake(READ);
                self.progress.at = Instant::now();
                return Ok(bytes);
            }
            match state {
                Some(RequestState::Done) => {
                    self.end();
                    return Ok(0);
                }
                Some(RequestState::Refused) => return Err(self.refusal()),
                Some(RequestState::Asked | RequestState::Taken | RequestState::Answering) => {
                    self.wait(written)?
                }
                _ => return Err(io::Error::other("the request was taken over by another heapkeeper")),
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.end();
        self.signals.give_back();
    }
}

/// Brings the word back to 0: what nobody has seen at once, what is being answered when whoever does that has stopped. One that is not
/// there any more is not waited for long.
fn withdraw(shared: &Shared, word: RequestWord) {
    let start = Instant::now();
    let step = |from: RequestState, to: RequestWord| {
        let (from, to) = (word.with(from).0, to.0);
        shared.request().compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    };
    let (none, withdrawn) = (RequestWord::NONE, word.with(RequestState::Withdrawn));
    let is_over = [RequestState::Asked, RequestState::Done, RequestState::Refused]
        .into_iter()
        .any(|state| step(state, none));
    if is_over || !step(RequestState::Taken, withdrawn) && !step(RequestState::Answering, withdrawn) {
        // Between two of those steps it may have gone on.
        let _ = step(RequestState::Done, none) || step(RequestState::Refused, none);
        return;
    }
    // It may wait for room.
    shared.wake(READ);
    while shared.request().load(Ordering::Acquire) == withdrawn.0 {
        if start.elapsed() > WITHDRAWAL_PATIENCE {
            step(RequestState::Withdrawn, none);
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// Withdraws what a heapkeeper that died has left.
fn end_former(shared: &Shared) {
    let word = RequestWord(shared.request().load(Ordering::Acquire));
    if word != RequestWord::NONE {
        withdraw(shared, word);
    }
}

/// A refusal as a reason.
fn tell(reason: Option<Refusal>, detail: u64) -> String {
    let error = || io::Error::from_raw_os_error(detail as i32);
    match reason {
        Some(Refusal::Sandbox) => "a sandbox that the program has set forbids it".into(),
        Some(Refusal::ThreadNoAnswer) => {
            format!("its thread {detail} did not stop in time: it blocks all signals, or is stopped itself")
        }
        Some(Refusal::ScanGoesOn) => "it is looking for leaks just now: try again".into(),
        Some(Refusal::TooManyThreads) => "it has more threads than can be stopped".into(),
        Some(Refusal::NoSignals) => "the system refused to signal its threads".into(),
        Some(Refusal::NoThreadList) => "its threads could not be listed (no /proc?)".into(),
        Some(Refusal::NoMemory) => "there was no memory for it".into(),
        Some(Refusal::NoFork) => format!("it could not be forked: {}", error()),
        Some(Refusal::NoCloseRange) => "that takes Linux 5.9 or later (close_range)".into(),
        Some(Refusal::NoRoom) => "there is no room on the disk where its recording lies".into(),
        Some(Refusal::NoMappings) => "its memory or the list of its mappings could not be read".into(),
        Some(Refusal::NoReader) => "nothing was read for so long that the process gave up".into(),
        Some(Refusal::Killed) if detail == libc::SIGKILL as u64 => {
            "the image that wrote it was killed, perhaps as memory ran short".into()
        }
        Some(Refusal::Killed) => {
            format!("the image that wrote it was ended by {}", os::signal_name(detail as i32))
        }
        Some(Refusal::Ended) => "the program has ended, or became another one".into(),
        Some(Refusal::Malformed | Refusal::UnknownVerb | Refusal::OtherProcess) | None => {
            "it did not understand the request: is it the same heapkeeper?".into()
        }
    }
}
