//! Threads of which an allocation or a free is recorded: their ids, and their names, as they may have ended when a finding is made.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A thread's word has this address until its id was asked for.
static NOT_ASKED: u64 = 0;

hk_os::thread_local_word!(mod word = "heapkeeper_thread_id", super::NOT_ASKED);

const CAPACITY: usize = 1024;

struct Entry {
    /// 0: being written, or free.
    thread: AtomicU32,
    name: [AtomicU64; 2],
}

/// Names by thread id; where two fall on one place the later stays.
pub(crate) struct ThreadNames {
    entries: [Entry; CAPACITY],
}

impl ThreadNames {
    pub(crate) const fn new() -> Self {
        ThreadNames {
            entries: [const { Entry { thread: AtomicU32::new(0), name: [const { AtomicU64::new(0) }; 2] } };
                CAPACITY],
        }
    }

    /// Takes the calling thread's name down: at its first event, and at its end, as it may have been renamed.
    pub(crate) fn note(&self, thread: u32) {
        let name = hk_recorder::thread_name();
        let entry = &self.entries[thread as usize % CAPACITY];
        // A reader that sees the id before or after the change sees a whole name, mostly: a mixed one is wrong, and harmless.
        entry.thread.store(0, Ordering::Release);
        for (word, bytes) in entry.name.iter().zip(name.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        entry.thread.store(thread, Ordering::Release);
    }

    /// The name that was taken down, zero-filled; all zero if there is none.
    pub(crate) fn get(&self, thread: u32) -> [u8; 16] {
        let entry = &self.entries[thread as usize % CAPACITY];
        let mut name = [0; 16];
        if entry.thread.load(Ordering::Acquire) == thread {
            for (bytes, word) in name.as_chunks_mut::<8>().0.iter_mut().zip(&entry.name) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            }
        }
        name
    }
}

/// The calling thread's id, asked of the system once a thread.
#[inline]
pub(crate) fn thread_id(names: &ThreadNames) -> u32 {
    let known = word::get();
    if known != 0 && known != (&raw const NOT_ASKED).addr() { known as u32 } else { ask(names) }
}

#[cold]
fn ask(names: &ThreadNames) -> u32 {
    let thread = hk_recorder::tid();
    word::set(thread as usize);
    names.note(thread);
    thread
}

/// At a thread's end: its name as it was at last.
pub(crate) fn note_last_name(names: &ThreadNames) {
    let known = word::get();
    if known != 0 && known != (&raw const NOT_ASKED).addr() {
        names.note(known as u32);
    }
}

/// In a fork child the thread has another id.
pub(crate) fn forget_thread_id() {
    word::set(0);
}
