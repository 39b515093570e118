//! Where spans get their words: cut from the word table, kept by the slice's header, handed on by size.
//!
//! A header keeps its words when its span retires, so the usual re-use of a slice by the same class costs
//! nothing. If the next span needs more, the old ones go to a list by capacity (a power of two), and words of
//! the right capacity come from that list or fresh from the table. Words are never unmapped and stay words.

use crate::span::SpanHeader;
use crate::tables::Tables;
use crate::word::{BLOCKS_PER_WORD, Word};
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_os::Os;

/// Spans get whole cache lines: their owners write to them all the time.
const LINE_WORDS: usize = 64 / size_of::<Word>();
const CAPACITY_COUNT: usize = BLOCKS_PER_WORD.trailing_zeros() as usize + 1;

/// Free words by capacity. Under the central lock.
#[derive(Debug)]
pub struct WordPool {
    lists: [Cell<*mut FreeWords>; CAPACITY_COUNT],
    used_bytes: Cell<usize>,
}

/// What free words hold: the link lies where `quarantine` does, so that `avail`, `freed` and `remote`
/// stay all zero or all one for late readers.
#[repr(C)]
#[derive(Debug)]
struct FreeWords {
    sets: [u64; 3],
    next: *mut FreeWords,
}
const _: () = assert!(size_of::<FreeWords>() == size_of::<Word>());

impl Default for WordPool {
    fn default() -> Self {
        Self::new()
    }
}

impl WordPool {
    /// An empty pool.
    pub const fn new() -> Self {
        WordPool { lists: [const { Cell::new(null_mut()) }; CAPACITY_COUNT], used_bytes: Cell::new(0) }
    }

    /// Gives `header` room for `padded_count` words, all blocks free. None if there is no memory.
    pub fn provide(
        &self,
        tables: &Tables,
        os: &impl Os,
        header: &SpanHeader,
        padded_count: usize,
    ) -> Option<*mut Word> {
        let needed = padded_count.max(LINE_WORDS).next_power_of_two().trailing_zeros() as usize;
        let present = usize::from(header.word_capacity.load(Ordering::Relaxed));
        let words = if present > needed {
            header.words.load(Ordering::Relaxed)
        } else {
            let words = self.cut(tables, os, needed)?;
            if present > 0 {
                self.put(header.words.load(Ordering::Relaxed), present - 1);
            }
            header.word_capacity.store(needed as u8 + 1, Ordering::Relaxed);
            words
        };
        for index in 0..padded_count {
            // SAFETY: the array has room for so many words.
            let word = unsafe { words.add(index) };
            // SAFETY: committed, zero or a word before; words are accessed as atomics only.
            unsafe { &*word }.reset();
        }
        Some(words)
    }

    /// In a fork child that caught the lock's holder at work: what was free is nobody's.
    pub fn forget(&self) {
        self.lists.iter().for_each(|list| list.set(null_mut()));
    }

    fn cut(&self, tables: &Tables, os: &impl Os, capacity: usize) -> Option<*mut Word> {
        let list = &self.lists[capacity];
        let first = list.get();
        if !first.is_null() {
            // SAFETY: lists hold words that no header has.
            list.set(unsafe { (*first).next });
            return Some(first.cast());
        }
        let offset = self.used_bytes.get();
        let end = offset + (size_of::<Word>() << capacity);
        if !tables.ensure_words(os, end) {
            return None;
        }
        self.used_bytes.set(end);
        Some(tables.word_place(offset))
    }

    fn put(&self, words: *mut Word, capacity: usize) {
        let free: *mut FreeWords = words.cast();
        // SAFETY: the words belong to no span any more; the place is large enough for a FreeWords.
        unsafe { (*free).next = self.lists[capacity].get() };
        self.lists[capacity].set(free);
    }
}
