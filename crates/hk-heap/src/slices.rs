//! Which slices are free, and which of those still hold memory: three bits per slice.
//!
//! | bit | says |
//! |---|---|
//! | `free` | in no span |
//! | `dirty` | may hold pages, which do not read as zero |
//! | `aged` | was free and dirty at the last tick already |
//!
//! Allocation is first fit from the lowest address, so the heap's upper end empties, and neighbours need no
//! coalescing: they are neighbouring bits. At each tick (half a purge delay) what is aged goes back to the system and what is
//! dirty becomes aged. The pages are given back outside the lock: the run is taken out of `free` meanwhile.
//!
//! What a span gave up rests for a while before it is free ([`Resting`]), so that an address is not handed out again at
//! once: a stale second free then still finds no block there.
//!
//! Everything here is called under the central lock, but for [`SliceMap::top`].

use crate::holes::Holes;
use crate::purging::{InHand, Purging};
use crate::resting::Resting;
use crate::size_class::SLICE_BYTES;
use crate::tables::{HUGE_BYTES, Tables};
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use hk_os::{Os, Purged};

/// 64 slices.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Group {
    free: Cell<u64>,
    dirty: Cell<u64>,
    aged: Cell<u64>,
    /// Slices that lie in huge pages, and those of them of which a part went back: see [`crate::holes`].
    pub(crate) huge: Cell<u64>,
    pub(crate) holed: Cell<u64>,
}

impl Group {
    /// Whether a slice, of this group, is free and holds no memory.
    pub(crate) fn is_clean(&self, slice: usize) -> bool {
        (self.free.get() & !self.dirty.get()) >> (slice % 64) & 1 != 0
    }

    /// Whether a slice, of this group, held memory when it was taken.
    fn was_dirty(&self, slice: usize) -> bool {
        self.dirty.get() >> (slice % 64) & 1 != 0
    }
}

/// A run of slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First slice.
    pub start: usize,
    /// Number of slices.
    pub count: usize,
    /// Whether all of it reads as zero.
    pub zero: bool,
}

/// What a purge takes of the free dirty slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that were so at the last tick too.
    Aged,
    /// All.
    Any,
    /// Those that make up the range of a whole huge page: to split one costs more than to keep it until a tick.
    Whole,
}

/// The slices' bookkeeping that is not in the groups.
#[derive(Debug)]
pub struct SliceMap {
    /// Slices from here on were never used. Read without the lock by walks.
    top: AtomicUsize,
    /// Free slices below the top.
    free_count: Cell<usize>,
    /// Free dirty slices.
    dirty_count: Cell<usize>,
    /// No free slice lies in a lower group.
    lowest_group: Cell<usize>,
    /// A search for this many slices failed, and nothing was freed since.
    failed_count: Cell<usize>,
    resting: Resting,
    purging: Purging,
    holes: Holes,
    /// More free dirty slices than this, and than are used, go back without waiting for a tick: a program that
    /// frees its peak and then sleeps has no later call to do it in.
    pressed_slices: Cell<usize>,
    /// With so many free dirty slices nothing could go back at once.
    pressed_in_vain: Cell<usize>,
    /// Whether there were more than that when slices were freed last. Read without the lock too, to see whether it is worth taking.
    pressed: AtomicBool,
    /// Slices that went back so, and were not taken again since.
    pressed_out: Cell<usize>,
    /// The most free dirty slices so far.
    dirty_peak: Cell<usize>,
    /// The most slices that were in spans.
    used_peak: Cell<usize>,
    /// Slices that went back so, whatever became of them, since the limit was doubled.
    pressed_total: Cell<usize>,
}

/// Slices of a huge page.
pub(crate) const HUGE_SLICES: usize = HUGE_BYTES / SLICE_BYTES;
/// Huge pages are for heaps that use at least so much (4 MiB): one that is mostly unused is then a third, and the next one comes when it is full.
const HUGE_FROM_SLICES: usize = (4 << 20) / SLICE_BYTES;

/// At first 32 MiB; doubled when what went back was wanted again, but never so that not a sixteenth of a peak would go back.
const PRESSED_SLICES_FIRST: usize = 512;
const PRESSED_SHARE: usize = 16;

impl Default for SliceMap {
    fn default() -> Self {
        Self::new()
    }
}

impl SliceMap {
    /// All slices never used.
    pub const fn new() -> Self {
        SliceMap {
            top: AtomicUsize::new(0),
            free_count: Cell::new(0),
            dirty_count: Cell::new(0),
            lowest_group: Cell::new(0),
            failed_count: Cell::new(usize::MAX),
            resting: Resting::new(),
            purging: Purging::new(),
            holes: Holes::new(),
            pressed_slices: Cell::new(PRESSED_SLICES_FIRST),
            pressed_in_vain: Cell::new(0),
            pressed: AtomicBool::new(false),
            pressed_out: Cell::new(0),
            pressed_total: Cell::new(0),
            dirty_peak: Cell::new(0),
            used_peak: Cell::new(0),
        }
    }

    /// The first slice that was never used.
    pub fn top(&self) -> usize {
        // Acquire: the tables up to the top are committed.
        self.top.load(Ordering::Acquire)
    }

    /// Slices in spans now.
    pub fn used_count(&self) -> usize {
        self.top() - self.free_count.get() - self.resting.slice_count()
    }

    /// Whether so much memory is free that some should go back at once; noted for those without the lock.
    pub(crate) fn note_pressure(&self) -> bool {
        let most = self.pressed_slices.get().max(self.used_count()).max(self.pressed_in_vain.get());
        let pressed = self.dirty_count.get() > most;
        // Relaxed: whoever sees an old one comes again.
        self.pressed.store(pressed, Ordering::Relaxed);
        pressed
    }

    /// Whether [`SliceMap::note_pressure`] is worth the lock.
    pub(crate) fn may_be_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Notes that so many slices went back at once. If none did, as none lie together, nobody asks again before there are more.
    pub fn note_pressed_out(&self, count: usize) {
        self.pressed_in_vain.set(if count == 0 { self.dirty_count.get() + HUGE_SLICES } else { 0 });
        self.pressed_out.set(self.pressed_out.get() + count);
        self.pressed_total.set(self.pressed_total.get() + count);
        self.note_pressure();
    }

    /// Slices without memory are taken again. If that happens to most of what went back at once, it was too soon.
    fn note_taken_back(&self, count: usize) {
        let out = self.pressed_out.get();
        if out == 0 {
            return;
        }
        self.pressed_out.set(out.saturating_sub(count));
        if self.pressed_out.get() <= self.pressed_total.get() / 8 {
            let most = self.dirty_peak.get() / PRESSED_SHARE * (PRESSED_SHARE - 1);
            self.pressed_slices.set((self.pressed_slices.get() * 2).min(most.max(PRESSED_SLICES_FIRST)));
            self.pressed_out.set(0);
            self.pressed_total.set(0);
        }
    }

    /// Free slices that still hold memory, resting ones included.
    pub fn dirty_count(&self) -> usize {
        self.dirty_count.get() + self.resting.slice_count()
    }

    /// Takes `count` slices, the first at a multiple of `align` slices.
    pub fn allocate(&self, tables: &Tables, os: &impl Os, count: usize, align: usize) -> Option<Run> {
        self.used_peak.set(self.used_peak.get().max(self.used_count() + count));
        if let Some(start) = self.find_free(tables, count, align) {
            return Some(self.take(tables, start, count));
        }
        if let Some(run) = self.extend(tables, os, count, align) {
            return Some(run);
        }
        // Better an address at once than no memory.
        self.end_rest(tables);
        self.find_free(tables, count, align).map(|start| self.take(tables, start, count))
    }

    /// `run` was taken for a span of small blocks: the whole huge page that it lies in, as the first to do so, if memory is to be
    /// fetched for that at once. What the run leaves of it is free, and dirty: if it is not taken soon it goes back to the system.
    ///
    /// One fault instead of 512, and one TLB entry. Only in a large heap, where 2 MiB too much are little, for a thread heap that fills
    /// its spans (many threads with a few blocks each touch a page of theirs), and never for large blocks, of which a program may
    /// touch only some pages.
    pub fn open_huge(&self, tables: &Tables, os: &impl Os, run: Run) -> Option<Run> {
        self.open_huge_at(tables, os, run, run.start + run.count - 1)
    }

    /// The same for the huge page that `slice` of `run` lies in, of whichever use the run is: for one of which the program has touched that
    /// slice, or is about to.
    pub fn open_huge_at(&self, tables: &Tables, os: &impl Os, run: Run, slice: usize) -> Option<Run> {
        // The most, not what is used now: a heap that grows again fetches at once what it gave back.
        if self.used_peak.get() < HUGE_FROM_SLICES {
            return None;
        }
        let Range { start, end } = huge_page_of(tables, slice);
        if end - start < HUGE_SLICES {
            return None;
        }
        let top = self.top();
        let run_slices = run.start..run.start + run.count;
        // The run may begin in another huge page, which is not clean.
        let is_clean = (start..end.min(top)).all(|slice| {
            let group = tables.group(slice / 64);
            if run_slices.contains(&slice) { !group.was_dirty(slice) } else { group.is_clean(slice) }
        });
        if !is_clean || end > tables.slice_count() || !tables.ensure_slices(os, end) {
            return None;
        }
        if end > top {
            let extended = self.extend(tables, os, end - top, 1)?;
            self.put_back(tables, extended);
        }
        for slice in (start..end).filter(|slice| !run_slices.contains(slice)) {
            let group = tables.group(slice / 64);
            group.dirty.set(group.dirty.get() | 1 << (slice % 64));
            self.dirty_count.set(self.dirty_count.get() + 1);
        }
        self.holes.note_huge(tables, start..end);
        self.note_taken_back(end.min(top).saturating_sub(start.max(run.start + run.count)));
        Some(Run { start, count: HUGE_SLICES, zero: true })
    }

    fn find_free(&self, tables: &Tables, count: usize, align: usize) -> Option<usize> {
        if count > self.free_count.get() || (count >= self.failed_count.get()) {
            return None;
        }
        let groups = self.top().div_ceil(64);
        let mut run = 0;
        let mut run_start = 0;
        let mut index = self.lowest_group.get();
        let mut met_free = false;
        while index < groups {
            let free = tables.group(index).free.get();
            if free != 0 && !met_free {
                met_free = true;
                self.lowest_group.set(index);
            }
            let mut bit = 0;
            while bit < 64 {
                let rest = free >> bit;
                if rest == 0 {
                    run = 0;
                    break;
                }
                let gap = rest.trailing_zeros() as usize;
                if gap > 0 {
                    run = 0;
                    bit += gap;
                }
                if run == 0 {
                    run_start = index * 64 + bit;
                }
                let ones = ((free >> bit).trailing_ones() as usize).min(64 - bit);
                run += ones;
                bit += ones;
                let aligned = run_start.next_multiple_of(align);
                if run >= count + (aligned - run_start) {
                    return Some(aligned);
                }
                if bit < 64 {
                    run = 0;
                }
            }
            index += 1;
        }
        if align == 1 {
            self.failed_count.set(count);
        }
        None
    }

    fn extend(&self, tables: &Tables, os: &impl Os, count: usize, align: usize) -> Option<Run> {
        let top = self.top();
        let start = top.next_multiple_of(align);
        let end = start.checked_add(count)?;
        if end > tables.slice_count() || !tables.ensure_slices(os, end) {
            return None;
        }
        // Release: whoever sees the new top sees committed tables.
        self.top.store(end, Ordering::Release);
        if start > top {
            self.put_back(tables, Run { start: top, count: start - top, zero: true });
        }
        Some(Run { start, count, zero: true })
    }

    /// Takes slices `start ..` if all are free, or were never used: for a span that grows in place.
    pub fn allocate_at(&self, tables: &Tables, os: &impl Os, start: usize, count: usize) -> Option<Run> {
        let top = self.top();
        if start == top {
            return self.extend(tables, os, count, 1);
        }
        if start + count > top || !(start..start + count).all(|slice| self.is_free(tables, slice)) {
            return None;
        }
        Some(self.take(tables, start, count))
    }

    pub(crate) fn is_free(&self, tables: &Tables, slice: usize) -> bool {
        tables.group(slice / 64).free.get() >> (slice % 64) & 1 != 0
    }

    fn take(&self, tables: &Tables, start: usize, count: usize) -> Run {
        let mut dirty_count = 0;
        for_each_group(start, count, |index, mask| {
            let group = tables.group(index);
            assert_eq!(group.free.get() & mask, mask, "slices taken twice");
            group.free.set(group.free.get() & !mask);
            dirty_count += (group.dirty.get() & mask).count_ones() as usize;
            group.aged.set(group.aged.get() & !mask);
        });
        self.free_count.set(self.free_count.get() - count);
        self.dirty_count.set(self.dirty_count.get() - dirty_count);
        self.note_taken_back(count - dirty_count);
        Run { start, count, zero: dirty_count == 0 }
    }

    /// Frees slices that a span used, after a rest.
    pub fn free(&self, tables: &Tables, start: usize, count: usize) {
        let run = Run { start, count, zero: false };
        if !Resting::takes(count) {
            return self.put_back(tables, run);
        }
        if self.resting.is_full() {
            self.end_oldest_rest(tables);
        }
        self.resting.push(run);
        while self.resting.is_too_much(self.used_count()) {
            self.end_oldest_rest(tables);
        }
    }

    fn end_oldest_rest(&self, tables: &Tables) -> bool {
        self.resting.pop().map(|run| self.put_back(tables, run)).is_some()
    }

    /// Makes a slice free that is in no span, if it is not free already: in a fork child, where whoever had taken it is not.
    pub fn recover(&self, tables: &Tables, slice: usize) {
        if !self.is_free(tables, slice) && !self.resting.holds(slice) && !self.purging.holds(slice) {
            self.put_back(tables, Run { start: slice, count: 1, zero: false });
        }
    }

    /// In a fork child: only `thread` goes on with what it was purging; what others were is free.
    pub fn keep_purging(&self, tables: &Tables, thread: usize) {
        // Not where it is free already: the holder of the lock was caught between that and the end of the purge.
        self.purging.keep_only(thread, |run| {
            (run.start..run.start + run.count).for_each(|slice| self.recover(tables, slice));
        });
    }

    /// In a fork child that caught the lock's holder at work: nothing rests; see [`SliceMap::recover`].
    pub fn forget_rest(&self) {
        self.resting.forget();
    }

    /// As a change of the ring and the counters that a fork caught half done.
    #[cfg(test)]
    pub(crate) fn miscount(&self) {
        self.resting.turn();
        self.free_count.set(self.free_count.get() + 3);
        self.dirty_count.set(0);
        self.lowest_group.set(self.top().div_ceil(64));
    }

    /// In a fork child that caught the lock's holder at work: makes all else anew from which slices are free. All are dirty then:
    /// who made some so may not have got to writing it down.
    pub fn recount(&self, tables: &Tables) {
        let mut free = 0;
        for index in 0..self.top().div_ceil(64) {
            let group = tables.group(index);
            group.dirty.set(group.free.get());
            group.aged.set(0);
            free += group.free.get().count_ones() as usize;
        }
        self.holes.recount(tables, self.top());
        self.free_count.set(free);
        self.dirty_count.set(free);
        self.lowest_group.set(0);
        self.failed_count.set(usize::MAX);
    }

    /// Makes all resting slices free.
    pub fn end_rest(&self, tables: &Tables) {
        while self.end_oldest_rest(tables) {}
    }

    /// Makes a run free again, as zero as it was.
    pub fn put_back(&self, tables: &Tables, run: Run) {
        for_each_group(run.start, run.count, |index, mask| {
            let group = tables.group(index);
            assert_eq!(group.free.get() & mask, 0, "slices freed twice");
            group.free.set(group.free.get() | mask);
            let dirty = group.dirty.get();
            group.dirty.set(if run.zero { dirty & !mask } else { dirty | mask });
        });
        self.free_count.set(self.free_count.get() + run.count);
        if !run.zero {
            self.dirty_count.set(self.dirty_count.get() + run.count);
            self.dirty_peak.set(self.dirty_peak.get().max(self.dirty_count.get()));
        }
        self.lowest_group.set(self.lowest_group.get().min(run.start / 64));
        self.failed_count.set(usize::MAX);
    }

    /// Takes a run out whose memory shall go back to the system, the highest that ends at `below` or before, of at most `count_max`
    /// slices, and if it has to be `whole`, of the ranges of whole huge pages. From the top, as allocation takes the lowest: what is
    /// low will be wanted first. Give it to [`purge_run`] outside the lock, then to [`SliceMap::finish_purge`].
    pub(crate) fn begin_purge(
        &self,
        tables: &Tables,
        below: usize,
        count_max: usize,
        which: Which,
        thread: usize,
    ) -> Option<InHand> {
        if self.purging.is_full() {
            return None;
        }
        let mut end = below.min(self.top());
        // Room for the parts of huge pages at both ends, which are cut off.
        let span_max = if which == Which::Whole { count_max + HUGE_SLICES - 1 } else { count_max };
        while end > 0 {
            let index = (end - 1) / 64;
            let bits = ripe(tables, index, which) & (u64::MAX >> (63 - (end - 1) % 64));
            if bits == 0 {
                end = index * 64;
                continue;
            }
            let last = index * 64 + bits.ilog2() as usize;
            let mut start = last;
            let is_ripe = |slice: usize| ripe(tables, slice / 64, which) >> (slice % 64) & 1 != 0;
            while start > 0 && last + 1 - start < span_max && is_ripe(start - 1) {
                start -= 1;
            }
            let found =
                if which == Which::Whole { whole_pages(tables, start, last + 1) } else { start..last + 1 };
            if !found.is_empty() {
                return Some(self.purging.begin(thread, self.take(tables, found.start, found.len())));
            }
            end = start;
        }
        None
    }

    /// Puts a run back after its memory was given up, or kept.
    pub(crate) fn finish_purge(&self, tables: &Tables, in_hand: InHand, purged: Purged) {
        if self.purging.end(in_hand) {
            self.put_back(tables, Run { zero: purged == Purged::Zeroed, ..in_hand.run });
            if purged == Purged::Zeroed {
                self.holes.note_gone(tables, in_hand.run.start..in_hand.run.start + in_hand.run.count);
            }
        }
    }

    /// Pages of these slices, which are in use, went back.
    pub(crate) fn note_holes(&self, tables: &Tables, slices: Range<usize>) {
        self.holes.note(tables, slices);
    }

    /// Whether [`SliceMap::take_holed`] is worth the lock.
    pub(crate) fn has_holed(&self) -> bool {
        !self.holes.is_empty()
    }

    /// The slices of a huge page of which a part went back.
    pub(crate) fn take_holed(&self, tables: &Tables) -> Option<Range<usize>> {
        self.holes.take(tables, self.top())
    }

    /// What is free and dirty now is aged at the next tick.
    pub fn age(&self, tables: &Tables) {
        self.end_rest(tables);
        // What goes back now may make room for what lies together.
        self.pressed_in_vain.set(0);
        for index in 0..self.top().div_ceil(64) {
            let group = tables.group(index);
            group.aged.set(group.free.get() & group.dirty.get());
        }
    }

    /// Checks the counters against the bits, and tells whether `slice` is free for each slice below the top.
    pub fn verify(&self, tables: &Tables, mut is_free: impl FnMut(usize, bool)) {
        let (mut free, mut dirty) = (0, 0);
        let rests = |slice: usize| self.resting.holds(slice);
        for slice in 0..self.top() {
            let group = tables.group(slice / 64);
            let bit = 1u64 << (slice % 64);
            let here = group.free.get() & bit != 0;
            free += usize::from(here);
            dirty += usize::from(here && group.dirty.get() & bit != 0);
            assert!(!(here && rests(slice)), "slice {slice} is free and rests");
            is_free(slice, here || rests(slice));
        }
        assert_eq!(free, self.free_count.get(), "free slices");
        assert_eq!(dirty, self.dirty_count.get(), "dirty slices");
        self.resting.verify();
        self.holes.verify(tables, self.top());
    }
}

/// Gives a run's memory back to the system. Outside the lock.
pub fn purge_run(tables: &Tables, os: &impl Os, run: Run) -> Purged {
    let start = tables.slice_start(run.start);
    // SAFETY: the run was taken out of the free slices, so nobody uses it; its contents are not needed.
    unsafe { os.purge(start, run.count * crate::size_class::SLICE_BYTES) }
}

/// Fetches memory for a run that [`SliceMap::open_huge`] gave. Outside the lock, as it takes a while.
pub fn populate_run(tables: &Tables, os: &impl Os, run: Run) {
    let start = tables.slice_start(run.start);
    // SAFETY: below the top, so committed.
    unsafe { os.populate_huge(start, run.count * SLICE_BYTES) };
}

/// The free dirty slices of a group that `which` asks for.
fn ripe(tables: &Tables, index: usize, which: Which) -> u64 {
    let group = tables.group(index);
    group.free.get() & group.dirty.get() & if which == Which::Aged { group.aged.get() } else { !0 }
}

/// What of the slices `start..end` is the range of whole huge pages.
pub(crate) fn whole_pages(tables: &Tables, start: usize, end: usize) -> Range<usize> {
    let base = tables.base_slice();
    let first = (base + start).next_multiple_of(HUGE_SLICES);
    let last = (base + end) / HUGE_SLICES * HUGE_SLICES;
    if first < last { first - base..last - base } else { 0..0 }
}

/// The slices of the huge page that `slice` lies in: fewer than [`HUGE_SLICES`] in the one that the reservation begins in the midst of.
pub(crate) fn huge_page_of(tables: &Tables, slice: usize) -> Range<usize> {
    let base = tables.base_slice();
    let start = (base + slice) / HUGE_SLICES * HUGE_SLICES;
    start.saturating_sub(base)..start + HUGE_SLICES - base
}

/// Calls `visit` with each group that some slices lie in, and their bits in it.
pub(crate) fn for_each_group(start: usize, count: usize, mut visit: impl FnMut(usize, u64)) {
    let mut slice = start;
    let end = start + count;
    while slice < end {
        let bit = slice % 64;
        let here = (64 - bit).min(end - slice);
        visit(slice / 64, (u64::MAX >> (64 - here)) << bit);
        slice += here;
    }
}
