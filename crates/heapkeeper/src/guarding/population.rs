//! Who frees the blocks of an allocation site: counts by pairs of sites.
//!
//! A site is the innermost frames of a stack. The table is fixed; what finds no room in it is not counted.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hk_format::FREE_SITES_MAX;
use hk_recorder::{FreeSite, StackId, Stacks};

const CAPACITY: usize = 8192;
const PROBES_MAX: usize = 16;
/// Frames that make a site: wrappers of malloc and free are one or two of them.
pub(super) const SITE_FRAMES: usize = 3;

struct Entry {
    /// The allocation site; 0: the entry is free.
    allocated: AtomicU64,
    /// The free site; 0: all blocks of the allocation site.
    freed: AtomicU64,
    count: AtomicU64,
    /// A stack of the free site.
    stack: AtomicU32,
}

/// See the module head.
pub(crate) struct Population {
    entries: [Entry; CAPACITY],
}

/// What is known of an allocation site.
pub(crate) struct Figures {
    pub(crate) blocks: u64,
    pub(crate) frees: u64,
    pub(crate) free_sites: [FreeSite; FREE_SITES_MAX],
}

/// The innermost frames of a stack, as a number that is not 0.
pub(super) fn site_of(stacks: &Stacks, stack: StackId) -> u64 {
    let mut frames = [0; SITE_FRAMES];
    let (count, _) = stacks.frames(stack, &mut frames);
    site_of_frames(&frames[..count])
}

pub(super) fn site_of_frames(frames: &[u64]) -> u64 {
    frames.iter().take(SITE_FRAMES).fold(0x9e37_79b9_7f4a_7c15u64, |hash, frame| {
        let mixed = (hash ^ frame).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }) | 1
}

impl Population {
    pub(crate) const fn new() -> Self {
        Population {
            entries: [const {
                Entry {
                    allocated: AtomicU64::new(0),
                    freed: AtomicU64::new(0),
                    count: AtomicU64::new(0),
                    stack: AtomicU32::new(0),
                }
            }; CAPACITY],
        }
    }

    pub(crate) fn note_allocated(&self, allocated: u64) {
        self.count(allocated, 0, StackId::NONE);
    }

    pub(crate) fn note_freed(&self, allocated: u64, freed: u64, stack: StackId) {
        self.count(allocated, freed, stack);
    }

    fn count(&self, allocated: u64, freed: u64, stack: StackId) {
        let start = (allocated ^ freed.rotate_left(17)) as usize;
        for probe in 0..PROBES_MAX {
            let entry = &self.entries[start.wrapping_add(probe) % CAPACITY];
            // Relaxed everywhere: counts for people. Two threads that meet a free entry at once may mix their keys up, for one count.
            match entry.allocated.load(Ordering::Relaxed) {
                0 => {
                    if entry
                        .allocated
                        .compare_exchange(0, allocated, Ordering::Relaxed, Ordering::Relaxed)
                        .is_err()
                    {
                        continue;
                    }
                    entry.freed.store(freed, Ordering::Relaxed);
                    entry.stack.store(stack.get(), Ordering::Relaxed);
                }
                known if known != allocated || entry.freed.load(Ordering::Relaxed) != freed => continue,
                _ => {}
            }
            entry.count.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }

    /// What is known of a site. Walks the table.
    pub(crate) fn figures(&self, allocated: u64) -> Figures {
        let mut figures = Figures { blocks: 0, frees: 0, free_sites: [FreeSite::default(); FREE_SITES_MAX] };
        for entry in &self.entries {
            if entry.allocated.load(Ordering::Relaxed) != allocated {
                continue;
            }
            let count = entry.count.load(Ordering::Relaxed);
            if entry.freed.load(Ordering::Relaxed) == 0 {
                figures.blocks += count;
                continue;
            }
            figures.frees += count;
            let stack = StackId::from_number(entry.stack.load(Ordering::Relaxed));
            insert(&mut figures.free_sites, FreeSite { count, stack });
        }
        figures
    }
}

/// Keeps the most frequent, in order.
fn insert(sites: &mut [FreeSite], new: FreeSite) {
    let Some(at) = sites.iter().position(|site| site.count < new.count) else { return };
    sites[at..].rotate_right(1);
    sites[at] = new;
}
