//! Guarded blocks of a process: which are, what is recorded of them, and what their traps report.
//!
//! - [`blocks`]: allocate, free and the rest of the family, for guarded blocks.
//! - [`findings`]: from what guards say to a finding.
//! - [`trap`]: the handler of SIGSEGV, and whom it passes faults on to.
//! - [`buffers`]: what system calls are given.
//! - [`sites`]: sites of which every block is guarded. [`population`]: who frees the blocks of a site.
//! - [`thread_names`]: names of threads that may have ended.

mod blocks;
pub(crate) mod buffers;
mod findings;
mod population;
mod sites;
pub(crate) mod thread_names;
pub mod trap;

pub use blocks::GivenLayout;

use crate::process::{Host, ProcessHeap};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hk_format::{Call, Guard, GuardSide, NoteKind, Settings};
use hk_guard::{Event, Guards, Method, Options, Refused, Side};
use hk_heap::REQUEST_BYTES_MAX;
use hk_os::{GuardOs, Linux};
use hk_recorder::{Innermost, Registers, StackId, Stacks};
use population::Population;
use sites::Sites;
use thread_names::ThreadNames;

/// Pages of freed blocks that rest where all blocks are guarded, and where a sample is.
const REST_PAGES_ALL: usize = 1 << 19;
const REST_PAGES_SAMPLE: usize = 1 << 14;
/// Where freed blocks keep their memory: 64 MiB of it, and as many guards.
const REST_PAGES_BATCH: usize = 1 << 15;
/// Live guarded blocks may take this share of the memory that the process may use.
const MEMORY_SHARE: usize = 8;

/// See the module head. A part of [`ProcessHeap`].
pub(crate) struct Guarding {
    pub(crate) guards: Guards<Linux>,
    pub(crate) stacks: Stacks,
    pub(crate) sites: Sites,
    pub(crate) population: Population,
    pub(crate) names: ThreadNames,
    /// One block in so many is guarded; 0: none.
    every: AtomicU32,
    /// The same as memory for guards allows.
    every_now: AtomicU32,
    /// So much of the area may become accessible, in bytes: that counts as data (RLIMIT_DATA), of which the program needs some too.
    commit_max: AtomicUsize,
    /// Mallocs are looked at one by one or counted: some blocks are guarded.
    on: AtomicBool,
    /// A [`GuardSide`].
    side: AtomicU8,
    /// For blocks that stand now at the one side, now at the other.
    turns: AtomicU32,
    thinned: AtomicBool,
    guarded: AtomicU64,
    unguarded: AtomicU64,
    /// Whether guards are put up by mprotect.
    by_protection: AtomicBool,
    /// Blocks from before are the parent's affair: when this process was forked, or 0.
    since_ns: AtomicU64,
    /// The thread that looks at all blocks at the end, or 0.
    pub(crate) walker: AtomicU32,
}

impl Guarding {
    pub(crate) const fn new() -> Self {
        Guarding {
            guards: Guards::new(Linux),
            stacks: Stacks::new(),
            sites: Sites::new(),
            population: Population::new(),
            names: ThreadNames::new(),
            every: AtomicU32::new(0),
            every_now: AtomicU32::new(0),
            commit_max: AtomicUsize::new(usize::MAX),
            on: AtomicBool::new(false),
            side: AtomicU8::new(GuardSide::Both as u8),
            turns: AtomicU32::new(0),
            thinned: AtomicBool::new(false),
            guarded: AtomicU64::new(0),
            unguarded: AtomicU64::new(0),
            by_protection: AtomicBool::new(false),
            since_ns: AtomicU64::new(0),
            walker: AtomicU32::new(0),
        }
    }

    /// Whether mallocs are counted: asked by their slow paths.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: a thread that sees it late guards its first block late.
        self.on.load(Ordering::Relaxed)
    }

    /// One block in so many is guarded now: fewer, as memory for guarded blocks is used up. 0: none but those of watched sites.
    #[inline(always)]
    fn every(&self) -> u32 {
        self.every_now.load(Ordering::Relaxed)
    }

    /// Of so many blocks that are to be guarded one is.
    fn thinning(&self) -> u32 {
        let (spent, max) = self.guards.spent_bytes();
        match spent.saturating_mul(16) / max.max(1) {
            0..8 => 1,
            8..12 => 2,
            12..14 => 4,
            _ => 16,
        }
    }

    /// One block in so many was to be guarded; 0: none, or those of certain sites.
    pub(crate) fn rate(&self) -> u32 {
        self.every.load(Ordering::Relaxed)
    }

    /// Blocks from before are the parent's affair; 0: there is none.
    pub(crate) fn since_ns(&self) -> u64 {
        self.since_ns.load(Ordering::Relaxed)
    }

    fn is_all(&self) -> bool {
        self.every.load(Ordering::Relaxed) == 1
    }

    /// The place of the next block in its pages.
    fn side(&self) -> Side {
        let side = self.side.load(Ordering::Relaxed);
        if side == GuardSide::Start as u8 {
            Side::Start
        } else if side == GuardSide::End as u8 || self.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
        {
            Side::End
        } else {
            Side::Start
        }
    }

    /// What happens now, on the stack that `registers` are of.
    #[inline]
    fn event(&self, stack: StackId) -> Event {
        let thread = thread_names::thread_id(&self.names);
        Event { stack: stack.get(), thread, time_ns: hk_os::now_ns() }
    }

    #[inline]
    pub(crate) fn capture(&self, registers: &Registers, innermost: Innermost) -> StackId {
        self.stacks.capture(registers, innermost)
    }
}

fn commit_guards<H: Host>(bytes: usize) -> bool {
    let process = H::process();
    bytes <= process.guarding.commit_max.load(Ordering::Relaxed) && process.heap.commit_guards(bytes)
}

impl<H: Host> ProcessHeap<H> {
    /// Takes over what is to be guarded. Once there are guards, they stay; the rate may change.
    pub(crate) fn apply_guard(&self, settings: &Settings) {
        let every = match settings.guard {
            Guard::Off => 0,
            Guard::OneIn(every) => every,
            Guard::Sites => 0,
        };
        if settings.guard == Guard::Off || !self.start_guards(every, settings.guard_batch > 0) {
            return;
        }
        let guarding = &self.guarding;
        if settings.guard == Guard::Sites && !guarding.sites.are_watched() {
            self.name_sites();
        }
        guarding.side.store(settings.guard_side as u8, Ordering::Relaxed);
        guarding.guards.set_batch(settings.guard_batch as usize);
        guarding.every.store(every, Ordering::Relaxed);
        guarding.every_now.store(every, Ordering::Relaxed);
        guarding.on.store(every > 0 || guarding.sites.are_watched(), Ordering::Release);
    }

    /// False if there can be none.
    fn start_guards(&self, every: u32, is_batched: bool) -> bool {
        let guarding = &self.guarding;
        if guarding.guards.is_started() {
            return true;
        }
        let Some((area, bytes)) = self.heap.guard_area() else { return false };
        let options = Options {
            rest_pages: match every {
                _ if is_batched => REST_PAGES_BATCH,
                1 => REST_PAGES_ALL,
                _ => REST_PAGES_SAMPLE,
            },
            bytes_max: Linux.memory_bytes() / MEMORY_SHARE,
            commit: commit_guards::<H>,
        };
        let Some(method) = guarding.guards.start(area, bytes, &options) else { return false };
        self.limit_data(hk_os::data_bytes_max());
        guarding.guards.expect_signals(self.heap.expects_handlers());
        guarding.by_protection.store(method != Method::GuardPages, Ordering::Relaxed);
        trap::install::<H>();
        true
    }

    /// Tells the recording how blocks are guarded.
    pub(crate) fn record_guarding(&self) {
        let guarding = &self.guarding;
        if !guarding.guards.is_started() {
            return;
        }
        let by_protection = guarding.by_protection.load(Ordering::Relaxed);
        self.recording.set_guarding(guarding.every.load(Ordering::Relaxed), u32::from(by_protection));
        if by_protection {
            self.recording.note(NoteKind::GuardsByProtection, guarding.guards.blocks_max() as u64, b"");
        }
    }

    /// In a fork child: what is guarded from here on is counted as its own.
    pub(crate) fn count_guarded_anew(&self) {
        self.guarding.guarded.store(0, Ordering::Relaxed);
        self.guarding.unguarded.store(0, Ordering::Relaxed);
        self.guarding.since_ns.store(hk_os::now_ns(), Ordering::Relaxed);
    }

    /// At the end: what was overwritten beside blocks that nobody freed.
    pub(crate) fn check_beside_blocks(&self) {
        let guarding = &self.guarding;
        if !guarding.guards.is_started() {
            return;
        }
        let registers = Registers::capture();
        guarding.walker.store(hk_recorder::tid(), Ordering::Relaxed);
        let since_ns = guarding.since_ns.load(Ordering::Relaxed);
        guarding.guards.close_waiting(|life, damage| {
            if life.freed.time_ns >= since_ns {
                self.report_written(&life, damage, &registers);
            }
        });
        guarding.guards.for_each_damaged(since_ns, |life, damage| {
            self.report_damage(Call::Exit, &life, damage, &registers);
        });
        guarding.walker.store(0, Ordering::Relaxed);
    }

    /// The process may have so many bytes of data (RLIMIT_DATA) from now on: guarded blocks take half of them at most.
    pub fn limit_data(&self, bytes_max: usize) {
        self.guarding.commit_max.store(bytes_max / 2, Ordering::Relaxed);
    }

    /// The reservation became smaller.
    pub fn note_shrunk(&self) {
        if let Some((_, bytes)) = self.heap.guard_area() {
            self.guarding.guards.shrink(bytes);
        }
    }

    /// Whether there are guarded blocks at all.
    pub fn is_guarding(&self) -> bool {
        self.guarding.guards.is_started()
    }

    /// Says whether signal handlers may interrupt the process and allocate.
    pub fn expect_signals(&self, signals: bool) {
        self.heap.expect_signals(signals);
        self.guarding.guards.expect_signals(signals);
    }

    /// Code may have gone: to be called before and after dlclose.
    pub fn modules_changed(&self) {
        self.guarding.stacks.modules_changed();
    }

    /// Code may come: to be called at dlopen.
    pub fn modules_loaded(&self) {
        self.guarding.stacks.modules_loaded();
    }

    /// There was no memory for the block at all, guarded or not: nothing went unguarded.
    pub(crate) fn forget_refused(&self, bytes: usize) {
        let guarding = &self.guarding;
        if guarding.is_on() && guarding.is_all() && bytes <= REQUEST_BYTES_MAX {
            let less = |count: u64| count.checked_sub(1);
            let before = guarding.unguarded.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            self.recording.set_unguarded_blocks(before.map_or(0, |count| count - 1));
        }
    }

    /// A block was guarded. Where all are to be, others are not, once memory for that runs short: counted by what is left out in the mean.
    #[inline]
    fn note_thinning(&self) {
        let guarding = &self.guarding;
        let thinning = guarding.thinning();
        guarding
            .every_now
            .store(guarding.every.load(Ordering::Relaxed).saturating_mul(thinning), Ordering::Relaxed);
        if thinning > 1 {
            self.note_thinned(if self.guarding.is_all() { thinning - 1 } else { 0 });
        }
    }

    #[cold]
    fn note_refused(&self, refused: Refused) {
        if refused == Refused::Budget {
            return self.note_thinned(1);
        }
        self.count_unguarded(1);
    }

    #[cold]
    fn note_thinned(&self, left_out: u32) {
        let guarding = &self.guarding;
        self.count_unguarded(left_out);
        if !guarding.thinned.swap(true, Ordering::Relaxed) {
            let (_, max) = guarding.guards.spent_bytes();
            self.recording.note(NoteKind::GuardsThinned, max as u64, b"");
        }
    }

    /// After a free: blocks whose pages could not be closed went unguarded from then on.
    #[inline]
    pub(crate) fn note_unclosed(&self) {
        let blocks = self.guarding.guards.take_unclosed();
        if blocks > 0 {
            self.note_first_unclosed();
            self.count_unguarded(blocks as u32);
        }
    }

    #[cold]
    fn note_first_unclosed(&self) {
        let guarding = &self.guarding;
        if !guarding.by_protection.swap(true, Ordering::Relaxed) {
            let max = guarding.guards.protected_max() as u64;
            self.recording.note(NoteKind::GuardsByProtection, max, b"");
        }
    }

    fn count_unguarded(&self, blocks: u32) {
        let count =
            self.guarding.unguarded.fetch_add(u64::from(blocks), Ordering::Relaxed) + u64::from(blocks);
        self.recording.set_unguarded_blocks(count);
    }
}
