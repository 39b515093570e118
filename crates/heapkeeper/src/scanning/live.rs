//! What the command asks of the process while it runs ([`hk_format::Control`]): a snapshot.
//!
//! The word that requests are made by is looked at where a word of blocks is used up, and by larger allocations. Whoever finds something there takes it,
//! stops all threads, makes an image of the process ([`hk_os::fork_image`]) and lets them go on. The image writes the snapshot, and ends. Until it
//! was waited for, that place is looked at likewise.

use super::image::{Target, make_image};
use crate::process::{Host, ProcessHeap};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use hk_format::{Judged, Refusal, RequestState, RequestVerb, RequestWord};
use hk_os::{ImageState, Linux, Os};

/// What there is to look at without a recording, and while an image is at work.
static NOTHING: AtomicU64 = AtomicU64::new(0);
static SOMETHING: AtomicU64 = AtomicU64::new(1);

/// A part of a process's heap.
pub(crate) struct Live {
    /// Not zero where it points to: there is something to do.
    word: AtomicPtr<AtomicU64>,
    /// A thread is at it.
    is_busy: AtomicBool,
    /// The image that is at work, or was and has to be waited for; 0: none.
    image: AtomicU32,
    /// The number of the last image until somebody has waited for it: this, or the program by a call that sees such children.
    not_waited_for: AtomicU32,
    /// What it answers.
    request: AtomicU64,
    /// When it was looked after.
    polled_ms: AtomicU64,
}

impl Live {
    pub(crate) const fn new() -> Self {
        Live {
            word: AtomicPtr::new((&raw const NOTHING).cast_mut()),
            is_busy: AtomicBool::new(false),
            image: AtomicU32::new(0),
            not_waited_for: AtomicU32::new(0),
            request: AtomicU64::new(0),
            polled_ms: AtomicU64::new(0),
        }
    }

    /// Whether there is something to do. Two loads.
    #[inline(always)]
    pub(crate) fn is_asked(&self) -> bool {
        // Relaxed: who sees it late, comes again.
        let word = self.word.load(Ordering::Relaxed);
        // SAFETY: a static, or a word of the recording, which is never unmapped.
        let word = unsafe { &*word };
        word.load(Ordering::Relaxed) != 0
    }

    fn look_at(&self, word: &AtomicU64) {
        self.word.store(core::ptr::from_ref(word).cast_mut(), Ordering::Relaxed);
    }

    /// In a fork child: the image is the parent's.
    pub(crate) fn forget_parent(&self) {
        self.image.store(0, Ordering::Relaxed);
        self.not_waited_for.store(0, Ordering::Relaxed);
        self.is_busy.store(false, Ordering::Relaxed);
    }
}

impl<H: Host> ProcessHeap<H> {
    /// Looks for requests, if there is a recording.
    pub(crate) fn watch_requests(&self) {
        self.live.look_at(self.recording.request_word().unwrap_or(&NOTHING));
    }

    /// The program ends, or becomes another one, which would see an image as a child of its own, with a signal at its end.
    pub(crate) fn end_requests(&self) {
        self.end_image(Refusal::Ended);
        self.live.look_at(&NOTHING);
    }

    /// By a thread that holds no lock, after an allocation: does what is asked for.
    #[cold]
    #[inline(never)]
    pub(crate) fn attend(&'static self) {
        // In a handler that interrupted malloc somebody else has to. A thread without heap, of which all blocks are guarded, is always busy.
        let heap = self.current();
        if self.heap.is_reentered() || heap.is_busy() && !heap.is_sentinel() {
            return;
        }
        let _errno = hk_os::Errno::keep();
        self.heap.notice_fork();
        // In a vfork child the heap is the parent's.
        if !self.is_recorded() || !self.heap.is_own() {
            return;
        }
        let mask = Linux.block_signals();
        if !self.live.is_busy.swap(true, Ordering::Acquire) {
            self.look_after_image();
            self.judge();
            self.live.is_busy.store(false, Ordering::Release);
        }
        Linux.restore_signals(mask);
    }

    fn judge(&'static self) {
        let word = RequestWord(self.recording.request());
        let taken = word.with(RequestState::Taken);
        match self.recording.judge_request(word) {
            Judged::NotForUs => {}
            Judged::Refused(reason) => {
                if self.recording.step_request(word, taken) {
                    self.recording.refuse_request(word, reason, 0);
                }
            }
            Judged::ForUs(RequestVerb::Snapshot) => {
                if self.recording.step_request(word, taken)
                    && let Err((reason, detail)) = self.make_snapshot(taken)
                {
                    self.recording.refuse_request(word, reason, detail);
                }
            }
        }
    }

    /// Has an image made that writes a snapshot.
    fn make_snapshot(&'static self, word: RequestWord) -> Result<(), (Refusal, u64)> {
        // Of a request that was withdrawn: it must not write to the ring any more.
        self.end_image(Refusal::Ended);
        if !self.recording.prepare_answer() {
            return Err((Refusal::NoRoom, 0));
        }
        let (image, stop_ns) = make_image(self, Target::Command(word))?;
        self.recording.set_stop_ns(stop_ns);
        self.live.request.store(word.0, Ordering::Relaxed);
        self.live.image.store(image, Ordering::Relaxed);
        self.live.not_waited_for.store(image, Ordering::Relaxed);
        self.live.look_at(&SOMETHING);
        Ok(())
    }

    /// Waits for an image that has ended. Asks the system once in some milliseconds at most.
    fn look_after_image(&self) {
        let image = self.live.image.load(Ordering::Relaxed);
        if image == 0 || self.live.polled_ms.swap(Linux.now_ms(), Ordering::Relaxed) == Linux.now_ms() {
            return;
        }
        match hk_os::poll_image(image) {
            ImageState::Runs => {}
            ImageState::Ended(signal) => {
                self.live.not_waited_for.store(0, Ordering::Relaxed);
                self.forget_image(Refusal::Killed, signal as u64);
            }
            ImageState::Lost => self.forget_image(Refusal::Killed, 0),
        }
    }

    /// Whether a child of this process is an image that nobody has waited for, and that the program is not to see.
    pub fn is_image(&self, child: u32) -> bool {
        loop {
            // Acquire: one that was made before has left its number.
            let is_busy = self.live.is_busy.load(Ordering::Acquire);
            if self.live.not_waited_for.load(Ordering::Relaxed) == child {
                return true;
            }
            // Its number may not be there yet. Whoever is busy has signals blocked, and so is no frame of this thread.
            if !is_busy {
                return false;
            }
            core::hint::spin_loop();
        }
    }

    /// The program has waited for a child; whether it was an image. True once for each.
    pub fn was_image(&self, child: u32) -> bool {
        // Relaxed: a number alone.
        let claim = || {
            self.live.not_waited_for.compare_exchange(child, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        self.is_image(child) && claim()
    }

    /// Ends the image that is at work, if there is one.
    fn end_image(&self, reason: Refusal) {
        let image = self.live.image.load(Ordering::Relaxed);
        if image != 0 {
            if hk_os::kill_image(image) != ImageState::Lost {
                self.live.not_waited_for.store(0, Ordering::Relaxed);
            }
            self.forget_image(reason, 0);
        }
    }

    /// There is no image any more. If its answer is not whole, it won't be.
    fn forget_image(&self, reason: Refusal, detail: u64) {
        self.live.image.store(0, Ordering::Relaxed);
        self.watch_requests();
        let word = RequestWord(self.live.request.load(Ordering::Relaxed));
        let present = RequestWord(self.recording.request());
        let states = [RequestState::Taken, RequestState::Answering, RequestState::Withdrawn];
        if states.into_iter().any(|state| present == word.with(state)) {
            self.recording.refuse_request(word, reason, detail);
        }
    }
}
