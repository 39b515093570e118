//! Hash to stack: an open-addressed table that grows, without a lock.
//!
//! It has levels, each four times the one before, in address space of their own; one of them is current. A place
//! is empty, or an entry (which never changes), or frozen. To grow, empty places of the level are frozen and
//! entries copied to the next, which then becomes current. Whoever looks for a stack in a level that is being
//! left finds it there, or comes to a frozen place: then it is not in this level and never will be, and the
//! next level is where it belongs. Before anybody uses that he copies the rest himself; copying twice does
//! nothing. So no stack is entered twice, nobody waits, and a fork child whose copier stayed behind in the
//! parent goes on by itself.

use crate::region::Words;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Logarithms of the levels' sizes in entries: 32 KiB to 8 MiB.
const LEVEL_BITS: [u32; 5] = [12, 14, 16, 18, 20];
const LEVELS: usize = LEVEL_BITS.len();
const EMPTY: u64 = 0;
const FROZEN: u64 = u64::MAX;
/// Entries that are looked at in one level; where there are so many in a row, it is as good as full.
const PROBES_MAX: usize = 4096;
/// Words of all levels.
pub(super) const INDEX_WORDS: usize = level_start(LEVELS);

/// The table.
pub(super) struct Index {
    /// Where its words begin in the region.
    start: usize,
    level: AtomicU32,
    used: [AtomicU32; LEVELS],
}

/// What is known of stacks and how a new one is made; ids are not 0 and not `u32::MAX`.
pub(super) trait Stack {
    /// Whether the stack with this id is the one looked for.
    fn is(&self, id: u32) -> bool;
    /// The id of the stack looked for, stored now if it was not; None if there is no room.
    fn id(&mut self) -> Option<u32>;
}

/// How a look into one level ended.
enum Looked {
    Found(u32),
    Added(u32),
    /// It belongs into the next level, if there is one.
    Elsewhere,
    /// There is no room for the stack.
    Full,
}

impl Index {
    pub(super) const fn new(start: usize) -> Self {
        Index { start, level: AtomicU32::new(0), used: [const { AtomicU32::new(0) }; LEVELS] }
    }

    /// The id of a stack by its hash, entered now if it was not; None if there is no room.
    #[inline]
    pub(super) fn find_or_add(&self, words: Words, hash: u64, stack: &mut impl Stack) -> Option<u32> {
        let tag = (hash >> 32) as u32;
        // Acquire: pairs with the release in `grow`: all entries are in the level that is current.
        let mut level = self.level.load(Ordering::Acquire) as usize;
        loop {
            match self.look(self.places(words, level)?, tag, self.has_room(level), stack) {
                Looked::Found(id) => return Some(id),
                Looked::Added(id) => {
                    self.count(words, level);
                    return Some(id);
                }
                Looked::Elsewhere => level = self.grow(words, level)?,
                Looked::Full => return None,
            }
        }
    }

    #[inline]
    fn look(&self, places: &[AtomicU64], tag: u32, has_room: bool, stack: &mut impl Stack) -> Looked {
        for place in around(places, tag).take(PROBES_MAX) {
            // Acquire: pairs with the release by which the entry came there, so that its stack is seen whole.
            let mut entry = place.load(Ordering::Acquire);
            if entry == EMPTY {
                let Some(id) = (if has_room { stack.id() } else { None }) else { return Looked::Full };
                let ours = (u64::from(tag) << 32) | u64::from(id);
                // Release: the stack is seen whole by whoever sees its entry. Acquire on failure: as above.
                match place.compare_exchange(EMPTY, ours, Ordering::Release, Ordering::Acquire) {
                    Ok(_) => return Looked::Added(id),
                    Err(other) => entry = other,
                }
            }
            if entry == FROZEN {
                return Looked::Elsewhere;
            }
            if (entry >> 32) as u32 == tag && stack.is(entry as u32) {
                return Looked::Found(entry as u32);
            }
        }
        Looked::Elsewhere
    }

    /// Grows where half of a level is used.
    fn count(&self, words: Words, level: usize) {
        // Relaxed: a number that decides when to grow; growing twice, or late, does no harm.
        let used = self.used[level].fetch_add(1, Ordering::Relaxed) + 1;
        if used >= 1 << (LEVEL_BITS[level] - 1) {
            self.grow(words, level);
        }
    }

    /// Whether entries may be added: the last level is left a quarter empty, lest looking takes long.
    #[inline(always)]
    fn has_room(&self, level: usize) -> bool {
        // Relaxed: as in `count`.
        level + 1 < LEVELS || self.used[level].load(Ordering::Relaxed) < 3 << (LEVEL_BITS[level] - 2)
    }

    /// Copies a level into the next and makes that current; gives the next.
    #[cold]
    #[inline(never)]
    fn grow(&self, words: Words, level: usize) -> Option<usize> {
        let next = level + 1;
        let (from, to) = (self.places(words, level)?, self.places(words, next)?);
        for place in from {
            // Acquire: pairs with the release by which the entry came there; `copy` hands that on. Failing, the
            // exchange tells what has come meanwhile. Relaxed on success: frozen places lead to nothing.
            match place.compare_exchange(EMPTY, FROZEN, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) | Err(FROZEN) => {}
                Err(entry) => self.copy(to, next, entry),
            }
        }
        // Release: whoever finds the level current finds all entries in it. Another may have done it, and
        // may have gone on. Relaxed on failure: nothing is read by it.
        let (old, new) = (level as u32, next as u32);
        let _ = self.level.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed);
        Some(next)
    }

    /// Copies an entry unless it is there.
    fn copy(&self, to: &[AtomicU64], level: usize, entry: u64) {
        for place in around(to, (entry >> 32) as u32) {
            // Release: hands on what was acquired with the entry. Relaxed on failure: only compared.
            match place.compare_exchange(EMPTY, entry, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    // Relaxed: as in `count`.
                    self.used[level].fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // A frozen place means that the next level was left already, and so had been complete.
                Err(other) if other == entry || other == FROZEN => return,
                Err(_) => {}
            }
        }
    }

    fn places(&self, words: Words, level: usize) -> Option<&'static [AtomicU64]> {
        let bits = LEVEL_BITS.get(level)?;
        words.part(self.start + level_start(level), 1 << bits)
    }
}

/// All places of a level in the order in which they are looked at.
#[inline(always)]
fn around(places: &[AtomicU64], tag: u32) -> impl Iterator<Item = &AtomicU64> {
    let mask = places.len() - 1;
    // The tag's highest bits, as many as the level has places for.
    let first = tag >> (u32::BITS - places.len().trailing_zeros());
    (0..places.len()).map(move |i| &places[(first as usize + i) & mask])
}

const fn level_start(level: usize) -> usize {
    let (mut start, mut below) = (0, 0);
    while below < level {
        start += 1 << LEVEL_BITS[below];
        below += 1;
    }
    start
}
