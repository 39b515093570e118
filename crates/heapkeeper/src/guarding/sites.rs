//! Sites of which every block is guarded: those that the settings name, and those of which a sampled block led to a finding.
//!
//! Named sites are ranges of code: a block is of the site if one of the innermost frames of its allocation lies there. Those that were
//! found are known by their innermost frames; they are watched for a number of blocks, as each malloc then has its stack taken.

use super::population::site_of_frames;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hk_recorder::{STACK_FRAMES_MAX, StackId, Stacks};

const RANGES_MAX: usize = 64;
const FOUND_MAX: usize = 16;
/// Blocks that are guarded of a site after a finding.
const BLOCKS_PER_SITE: u32 = 2000;
/// Mallocs that are looked at for found sites since the last one was found: one that allocates seldom is not worth every malloc's stack for ever.
const LOOKS_MAX: u32 = 2_000_000;
/// Innermost frames among which a named function is looked for.
const FRAMES_MAX: usize = 24;

struct Found {
    site: AtomicU64,
    blocks_left: AtomicU32,
}

/// A range of a library's code, as addresses in its file.
struct InLibrary {
    start: AtomicU64,
    end: AtomicU64,
    /// A hash of the library's file name.
    name: AtomicU64,
}

/// Stacks that were looked through for libraries: each is looked through once, unless another takes its place.
const LOOKED_THROUGH: usize = 4096;

/// See the module head.
pub(crate) struct Sites {
    /// Starts and ends.
    ranges: [(AtomicU64, AtomicU64); RANGES_MAX],
    range_count: AtomicUsize,
    in_libraries: [InLibrary; RANGES_MAX],
    in_library_count: AtomicUsize,
    looked_through: [AtomicU32; LOOKED_THROUGH],
    is_adding: AtomicBool,
    found: [Found; FOUND_MAX],
    /// Found sites that are watched.
    watched: AtomicU32,
    looks: AtomicU32,
}

impl Sites {
    pub(crate) const fn new() -> Self {
        Sites {
            ranges: [const { (AtomicU64::new(0), AtomicU64::new(0)) }; RANGES_MAX],
            range_count: AtomicUsize::new(0),
            in_libraries: [const {
                InLibrary { start: AtomicU64::new(0), end: AtomicU64::new(0), name: AtomicU64::new(0) }
            }; RANGES_MAX],
            in_library_count: AtomicUsize::new(0),
            looked_through: [const { AtomicU32::new(0) }; LOOKED_THROUGH],
            is_adding: AtomicBool::new(false),
            found: [const { Found { site: AtomicU64::new(0), blocks_left: AtomicU32::new(0) } }; FOUND_MAX],
            watched: AtomicU32::new(0),
            looks: AtomicU32::new(0),
        }
    }

    /// Whether there are any, so that each malloc has to be looked at.
    #[inline]
    pub(crate) fn are_watched(&self) -> bool {
        self.range_count.load(Ordering::Relaxed) > 0
            || self.watched.load(Ordering::Relaxed) > 0
            || self.in_library_count.load(Ordering::Relaxed) > 0
    }

    /// Has the code from `start` to `end` watched. By one thread at a time.
    pub(crate) fn name(&self, start: u64, end: u64) {
        let count = self.range_count.load(Ordering::Relaxed);
        if let Some(range) = self.ranges.get(count) {
            range.0.store(start, Ordering::Relaxed);
            range.1.store(end, Ordering::Relaxed);
            // Release: who sees the count sees the range.
            self.range_count.store(count + 1, Ordering::Release);
        }
    }

    /// Has code of a library watched, once it is met: from `start` to `end` in its file. At the start, by one thread.
    pub(crate) fn name_in_library(&self, start: u64, end: u64, file_name: &[u8]) {
        let count = self.in_library_count.load(Ordering::Relaxed);
        if let Some(range) = self.in_libraries.get(count) {
            range.start.store(start, Ordering::Relaxed);
            range.end.store(end, Ordering::Relaxed);
            range.name.store(hash_of(file_name), Ordering::Relaxed);
            // Release: as above.
            self.in_library_count.store(count + 1, Ordering::Release);
        }
    }

    /// Looks for libraries of named code in a stack; true if there is one that was not known to lie there.
    #[cold]
    fn find_libraries(&self, stacks: &Stacks, stack: StackId) -> bool {
        let looked_through = &self.looked_through[stack.get() as usize % LOOKED_THROUGH];
        // Whoever comes at the same time sees what is added with its next block.
        if looked_through.load(Ordering::Relaxed) == stack.get()
            || self.is_adding.swap(true, Ordering::Acquire)
        {
            return false;
        }
        looked_through.store(stack.get(), Ordering::Relaxed);
        let mut has_found = false;
        stacks.for_each_module_of(stack, |module| {
            let name = hash_of(module.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default());
            for range in &self.in_libraries[..self.in_library_count.load(Ordering::Acquire)] {
                let place =
                    |address: &AtomicU64| address.load(Ordering::Relaxed).wrapping_add(module.header.bias);
                if range.name.load(Ordering::Relaxed) == name && !self.is_known(place(&range.start)) {
                    self.name(place(&range.start), place(&range.end));
                    has_found = true;
                }
            }
        });
        self.is_adding.store(false, Ordering::Release);
        has_found
    }

    fn is_known(&self, start: u64) -> bool {
        let known = &self.ranges[..self.range_count.load(Ordering::Acquire)];
        known.iter().any(|range| range.0.load(Ordering::Relaxed) == start)
    }

    /// A block of this site led to a finding. True if it is watched from now on and was not before.
    pub(crate) fn watch(&self, site: u64) -> bool {
        for found in &self.found {
            match found.site.compare_exchange(0, site, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.looks.store(0, Ordering::Relaxed);
                    found.blocks_left.store(BLOCKS_PER_SITE, Ordering::Release);
                    self.watched.fetch_add(1, Ordering::AcqRel);
                    return true;
                }
                Err(known) if known == site => return false,
                Err(_) => {}
            }
        }
        false
    }

    /// Whether a block that is allocated on this stack is to be guarded.
    pub(crate) fn want(&self, stacks: &Stacks, stack: StackId) -> bool {
        let mut frames = [0; STACK_FRAMES_MAX];
        let (count, _) = stacks.frames(stack, &mut frames);
        let frames = &frames[..count];
        let is_in_library = || {
            self.in_library_count.load(Ordering::Relaxed) > 0
                && self.find_libraries(stacks, stack)
                && self.is_named(frames)
        };
        self.is_named(frames) || self.is_found(site_of_frames(frames)) || is_in_library()
    }

    fn is_named(&self, frames: &[u64]) -> bool {
        let count = self.range_count.load(Ordering::Acquire);
        let ranges = &self.ranges[..count];
        frames.iter().take(FRAMES_MAX).map(|frame| frame - 1).any(|pc| {
            ranges.iter().any(|(start, end)| {
                (start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed)).contains(&pc)
            })
        })
    }

    fn is_found(&self, site: u64) -> bool {
        if self.watched.load(Ordering::Relaxed) == 0 {
            return false;
        }
        if self.looks.fetch_add(1, Ordering::Relaxed) > LOOKS_MAX {
            self.found.iter().for_each(|found| found.blocks_left.store(0, Ordering::Relaxed));
            self.watched.store(0, Ordering::Relaxed);
            return false;
        }
        let Some(found) = self.found.iter().find(|found| found.site.load(Ordering::Acquire) == site) else {
            return false;
        };
        let taken =
            found.blocks_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if taken == Ok(1) {
            // The entry stays, so that the site is not watched again.
            let less = |count: u32| count.checked_sub(1);
            let _ = self.watched.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
        taken.is_ok()
    }
}

/// FNV-1a.
fn hash_of(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
