//! Findings that were already told of.
//!
//! A bad free in a loop is one finding with many repeats. The table is fixed, open-addressed and lock-free;
//! keys are never removed while threads run (a fork child clears its own copy). When it is full, further
//! findings count as new.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// Entries of the table.
const CAPACITY: usize = 2048;
/// Entries looked at for one key.
const PROBES_MAX: usize = 32;

struct Entry {
    /// Hash of the finding, 0 if the entry is free.
    key: AtomicU64,
    /// Where its record lies in the file; 0 until it is written (or if it has none).
    record: AtomicU64,
    /// Repeats that came before the record was there.
    early: AtomicU32,
}

/// The table.
pub(crate) struct Seen {
    entries: [Entry; CAPACITY],
}

/// Whether a finding is new.
pub(crate) enum Sighting<'a> {
    /// It is new; the place takes its record.
    First(Option<Place<'a>>),
    /// It was told of. Add `repeats` to the record at `record`, if there is one by now.
    Again { record: Option<usize>, repeats: u32 },
}

/// A claimed entry that waits for its record.
pub(crate) struct Place<'a>(&'a Entry);

impl Seen {
    pub(crate) const fn new() -> Self {
        Seen { entries: [const { Entry::FREE }; CAPACITY] }
    }

    /// Looks a finding up by the [`hash`] of what makes it what it is, and enters it if it is new.
    pub(crate) fn look_up(&self, key: u64) -> Sighting<'_> {
        for i in 0..PROBES_MAX {
            let entry = &self.entries[(key as usize).wrapping_add(i) % CAPACITY];
            match entry.key.compare_exchange(0, key, SeqCst, SeqCst) {
                Ok(_) => return Sighting::First(Some(Place(entry))),
                Err(other) if other == key => {
                    let (record, repeats) = entry.repeat();
                    return Sighting::Again { record, repeats };
                }
                Err(_) => {}
            }
        }
        Sighting::First(None)
    }

    /// Forgets all: for a fork child, where no other thread runs.
    pub(crate) fn clear(&self) {
        for entry in &self.entries {
            entry.record.store(0, SeqCst);
            entry.early.store(0, SeqCst);
            entry.key.store(0, SeqCst);
        }
    }
}

impl Entry {
    #[allow(clippy::declare_interior_mutable_const, reason = "only used to initialise the table")]
    const FREE: Entry = Entry { key: AtomicU64::new(0), record: AtomicU64::new(0), early: AtomicU32::new(0) };

    /// Counts a repeat: which record to add how many to. If the record is not there yet, the repeat waits in
    /// `early`, and whoever sees both (the record's writer, or a later repeat) takes all that wait.
    fn repeat(&self) -> (Option<usize>, u32) {
        if self.record.load(SeqCst) == 0 {
            self.early.fetch_add(1, SeqCst);
            return match self.record.load(SeqCst) {
                0 => (None, 0),
                record => (Some(record as usize), self.early.swap(0, SeqCst)),
            };
        }
        (Some(self.record.load(SeqCst) as usize), 1 + self.early.swap(0, SeqCst))
    }
}

impl Place<'_> {
    /// Tells where the record lies; gives the repeats that came meanwhile, to be added to it.
    pub(crate) fn publish(self, record: usize) -> u32 {
        self.0.record.store(record as u64, SeqCst);
        self.0.early.swap(0, SeqCst)
    }
}

/// FNV-1a over words with a final mix; never 0.
pub(crate) fn hash(words: &[u64]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for word in words {
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        hash ^= hash >> 29;
    }
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash ^ (hash >> 32)) | 1 << 63
}
