//! Every module that a kept frame lies in, also after it was unloaded.
//!
//! An entry never changes. Entries are laid down in their own part of the region and then listed: a place in the
//! list is taken by one compare-and-swap, after a look at all before it, so that no module is listed twice, and
//! nobody waits for a thread (or, in a fork child, for one that is not there).

use super::module::Module;
use super::module_entry::{ENTRY_WORDS_MAX, ModuleEntry};
use super::rule::MODULES_MAX;
use crate::region::Words;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Where the list is in the region.
const LIST_START: usize = 0;
/// Where the entries are.
const ENTRIES_START: usize = MODULES_MAX + 1;
/// 2 MiB: 4,095 modules with paths of some 400 bytes.
const ENTRIES_WORDS: usize = (2 << 20) / size_of::<u64>();
/// The end of what the log takes of the region.
pub(crate) const LOG_END: usize = ENTRIES_START + ENTRIES_WORDS;
/// Words before a module's entry: the generation in which it was last seen, that in which it was first seen,
/// and the entry's length.
const HEAD_WORDS: usize = 3;

/// The log.
pub(crate) struct ModuleLog {
    /// Words of the entries' part that are taken.
    taken: AtomicUsize,
}

/// A listed module.
struct Listed {
    seen: &'static AtomicU64,
    first_generation: u64,
    entry: &'static [AtomicU64],
}

impl ModuleLog {
    pub(crate) const fn new() -> Self {
        ModuleLog { taken: AtomicUsize::new(0) }
    }

    /// The number of a module that is loaded in `generation`, listed now if it was not; 0 if the log is full.
    pub(super) fn number_of(&self, words: Words, module: &Module, generation: u64) -> u64 {
        let same_place = |listed: &Listed| {
            [module.start, module.end, module.bias]
                .iter()
                .zip(listed.entry)
                // Relaxed: entries do not change, and `listed` has acquired this one.
                .all(|(value, word)| word.load(Ordering::Relaxed) == *value)
                // Relaxed: it only says that the whole entry need not be compared.
                && listed.seen.load(Ordering::Relaxed) == generation
        };
        for index in 0..MODULES_MAX {
            match listed(words, index) {
                Some(listed) if same_place(&listed) => return index as u64 + 1,
                Some(_) => {}
                None => break,
            }
        }
        self.list(words, &ModuleEntry::of(module), generation).unwrap_or(0)
    }

    #[inline(never)]
    fn list(&self, words: Words, entry: &ModuleEntry, generation: u64) -> Option<u64> {
        let mut laid_down = None;
        for index in 0..MODULES_MAX {
            let place = words.at(LIST_START + index)?;
            if let Some(listed) = listed(words, index) {
                if is_same(&listed, entry) {
                    // Relaxed: see `number_of`.
                    listed.seen.store(generation, Ordering::Relaxed);
                    return Some(index as u64 + 1);
                }
                continue;
            }
            let start = match laid_down {
                Some(start) => start,
                None => self.lay_down(words, entry, generation)?,
            };
            laid_down = Some(start);
            // Release: whoever sees the place taken sees the entry. Relaxed on failure: `listed` loads again.
            if place.compare_exchange(0, start as u64, Ordering::Release, Ordering::Relaxed).is_ok() {
                return Some(index as u64 + 1);
            }
            // Somebody listed a module meanwhile: perhaps this one.
            if is_same(&self::listed(words, index)?, entry) {
                return Some(index as u64 + 1);
            }
        }
        None
    }

    /// Puts an entry where nobody looks yet.
    fn lay_down(&self, words: Words, entry: &ModuleEntry, generation: u64) -> Option<usize> {
        let len = HEAD_WORDS + entry.words().len();
        // Relaxed: the number alone is shared; the words are published by the list.
        let claimed = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken + len <= ENTRIES_WORDS).then_some(taken + len)
        });
        let start = ENTRIES_START + claimed.ok()?;
        let head = [generation, generation, entry.words().len() as u64];
        for (to, &word) in words.part(start, len)?.iter().zip(head.iter().chain(entry.words())) {
            // Relaxed: published by the release in `list`.
            to.store(word, Ordering::Relaxed);
        }
        Some(start)
    }

    /// Calls `found` with each module.
    pub(crate) fn for_each(&self, words: Words, mut found: impl FnMut(&ModuleEntry)) {
        (1..).map_while(|number| self.entry(words, number)).for_each(|(entry, _)| found(&entry));
    }

    /// The entry with a number, and the generation in which it was first seen.
    pub(crate) fn entry(&self, words: Words, number: u64) -> Option<(ModuleEntry, u64)> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let listed = listed(words, index)?;
        // Relaxed: as in `number_of`.
        let entry = ModuleEntry::from_words(listed.entry.iter().map(|word| word.load(Ordering::Relaxed)));
        Some((entry, listed.first_generation))
    }
}

fn is_same(listed: &Listed, entry: &ModuleEntry) -> bool {
    // Relaxed: entries do not change, and `listed` has acquired this one.
    let words = listed.entry.iter().map(|word| word.load(Ordering::Relaxed));
    words.eq(entry.words().iter().copied())
}

/// What is listed at an index below [`MODULES_MAX`], if anything.
fn listed(words: Words, index: usize) -> Option<Listed> {
    if index >= MODULES_MAX {
        return None;
    }
    // Acquire: pairs with the release of whoever listed it, so that the entry is seen whole.
    let start = words.at(LIST_START + index)?.load(Ordering::Acquire) as usize;
    let head = words.part(start, HEAD_WORDS).filter(|_| start != 0)?;
    // Relaxed: acquired above; likewise the next.
    let len = (head[2].load(Ordering::Relaxed) as usize).min(ENTRY_WORDS_MAX);
    let entry = words.part(start + HEAD_WORDS, len)?;
    Some(Listed { seen: &head[0], first_generation: head[1].load(Ordering::Relaxed), entry })
}
