//! Threads that block the signal of a stop, by system calls of their own, and wait for something else: to wait for them is in vain.

use super::threads::{self, Hearing};

/// Nobody is looked at before so much of the stop has passed: most threads answer sooner.
const GRACE_NS: u64 = 2_000_000;
/// A thread is deaf if it was in so many looks, over so long a time.
const LOOKS_MIN: u32 = 5;
const TIME_NS_MIN: u64 = 20_000_000;

/// What is known of the thread that is waited for.
pub(super) struct Deafness {
    /// When looks begin.
    from_ns: u64,
    thread: u32,
    /// In how many looks it was deaf, since when.
    looks: u32,
    since_ns: u64,
}

impl Deafness {
    /// Nobody was looked at yet.
    pub(super) fn from(now_ns: u64) -> Self {
        Deafness { from_ns: now_ns + GRACE_NS, thread: 0, looks: 0, since_ns: 0 }
    }

    /// Looks at the thread that is waited for; whether it is not going to answer.
    pub(super) fn is_certain(&mut self, thread: u32, now_ns: u64) -> bool {
        if now_ns < self.from_ns {
            return false;
        }
        match threads::hearing_of(thread) {
            Hearing::Deaf if thread == self.thread && self.looks > 0 => {
                self.looks += 1;
                self.looks >= LOOKS_MIN && now_ns - self.since_ns >= TIME_NS_MIN
            }
            Hearing::Deaf => {
                (self.thread, self.looks, self.since_ns) = (thread, 1, now_ns);
                false
            }
            Hearing::Busy => false,
            Hearing::Good => {
                self.looks = 0;
                false
            }
        }
    }
}
