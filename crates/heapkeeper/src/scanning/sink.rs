//! Where an image writes a snapshot: to the command, through the ring of the recording, or to a file.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hk_format::Refusal;
use hk_os::{Linux, Os, system_call};
use hk_recorder::{Answer, Recording, Unwanted};

/// See the module head. Nobody goes on after a false: why, was told.
pub(super) trait Sink {
    /// Writes all of it.
    fn write(&mut self, words: &[u64]) -> bool;

    /// To be called now and then: whether it is still wanted.
    fn go_on(&self) -> bool;

    /// How long the program stood still; 0: that is not known yet.
    fn stop_ns(&self) -> u64;

    /// All was written.
    fn end(self);

    /// It can't be done.
    fn refuse(&self, reason: Refusal);
}

/// The ring.
pub(super) struct ToCommand<'a> {
    pub(super) answer: Answer<'a>,
    pub(super) recording: &'a Recording,
}

impl ToCommand<'_> {
    fn goes_on(&self, wanted: Result<(), Unwanted>) -> bool {
        wanted.map_err(|why| self.answer.give_up(why)).is_ok()
    }
}

impl Sink for ToCommand<'_> {
    fn write(&mut self, words: &[u64]) -> bool {
        let written = self.answer.write(words);
        self.goes_on(written)
    }

    fn go_on(&self) -> bool {
        self.goes_on(self.answer.go_on())
    }

    fn stop_ns(&self) -> u64 {
        self.recording.stop_ns()
    }

    fn end(self) {
        self.answer.end();
    }

    fn refuse(&self, reason: Refusal) {
        self.answer.refuse(reason);
    }
}

/// What the process and an image that writes to a file tell each other, in memory that both have.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Shared {
    pub(super) stop_ns: AtomicU64,
    /// 1: all was written.
    pub(super) is_done: AtomicU32,
    /// A [`Refusal`]'s number, or 0.
    pub(super) reason: AtomicU32,
    /// An errno of write(2), or 0.
    pub(super) errno: AtomicU32,
}

/// A file.
pub(super) struct ToFile<'a> {
    /// Its descriptor.
    pub(super) file: u32,
    pub(super) shared: &'a Shared,
    /// The process whose image this is.
    pub(super) parent: u32,
}

impl Sink for ToFile<'_> {
    fn write(&mut self, words: &[u64]) -> bool {
        let (mut at, mut rest) = (words.as_ptr().addr(), size_of_val(words));
        while rest > 0 {
            // SAFETY: the kernel reads what is left of the words.
            let written = unsafe { system_call(libc::SYS_write, [self.file as usize, at, rest, 0, 0, 0]) };
            match usize::try_from(written) {
                Ok(written) => (at, rest) = (at + written, rest - written),
                Err(_) => {
                    self.shared.errno.store(-written as u32, Ordering::Release);
                    return false;
                }
            }
        }
        true
    }

    fn go_on(&self) -> bool {
        // SAFETY: no arguments.
        let parent = unsafe { system_call(libc::SYS_getppid, [0; 6]) };
        parent as u32 == self.parent
    }

    fn stop_ns(&self) -> u64 {
        self.shared.stop_ns.load(Ordering::Acquire)
    }

    fn end(self) {
        self.shared.is_done.store(1, Ordering::Release);
    }

    fn refuse(&self, reason: Refusal) {
        self.shared.reason.store(reason as u32, Ordering::Release);
    }
}

/// Waits until it is known how long the program stood still: it goes on at once, and its thread then tells. None if nobody wants to know any more.
pub(super) fn wait_for_stop_ns(sink: &impl Sink) -> Option<u64> {
    let never = AtomicU32::new(0);
    loop {
        match sink.stop_ns() {
            0 if !sink.go_on() => return None,
            0 => Linux.wait(&never, 0, 1),
            stop_ns => return Some(stop_ns),
        }
    }
}
