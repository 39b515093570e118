//! Huge pages of which a part went back to the system.
//!
//! The kernel unmaps such a part at once, and the process's resident size says so; but it keeps the memory until it splits the huge page,
//! which it does when it is short of memory (its "deferred split"), or when it is told that what is left is seldom used. So what lies
//! about a hole is told so, once, after all that was to go back has gone: 1 GiB of which 95 % went back in pieces took 1.1 GiB of the
//! system's memory before that and 0.2 GiB afterwards (Linux 6.18). A split takes some 0.3 ms: one in a call.
//!
//! That is for the huge pages that the heap fetched itself ([`crate::slices::SliceMap::open_huge`]): of those which come by the program's
//! touch (`huge-pages=all`, or a system that gives them to everybody) it does not know, and to declare small pages cold again and again
//! would cost more than it gains.

use crate::slices::{Group, for_each_group, huge_page_of, whole_pages};
use crate::tables::Tables;
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Which slices lie in huge pages, and which of them have holes that nobody looked after. Under the central lock; two bits for each slice in
/// its group.
#[derive(Debug)]
pub(crate) struct Holes {
    /// Read without the lock too, to see whether it is worth taking.
    count: AtomicUsize,
    /// No bit is set in a lower group.
    lowest_group: Cell<usize>,
}

impl Holes {
    pub(crate) const fn new() -> Self {
        Holes { count: AtomicUsize::new(0), lowest_group: Cell::new(0) }
    }

    /// Whether there is nothing to look after.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: whoever sees an old count comes again.
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Only under the lock, so no read-modify-write.
    fn add(&self, change: isize) {
        self.count.store(self.count.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
    }

    /// These slices are a huge page now, without holes.
    pub(crate) fn note_huge(&self, tables: &Tables, slices: Range<usize>) {
        for_each_group(slices.start, slices.len(), |index, mask| {
            self.clear(tables.group(index), mask);
            let huge = &tables.group(index).huge;
            huge.set(huge.get() | mask);
        });
    }

    /// Nothing is to be looked after in these slices of a group.
    fn clear(&self, group: &Group, mask: u64) {
        self.add(-((group.holed.get() & mask).count_ones() as isize));
        group.holed.set(group.holed.get() & !mask);
    }

    /// Something of these slices went back.
    pub(crate) fn note(&self, tables: &Tables, slices: Range<usize>) {
        for_each_group(slices.start, slices.len(), |index, mask| {
            let group = tables.group(index);
            let new = group.huge.get() & !group.holed.get() & mask;
            if new != 0 {
                self.add(new.count_ones() as isize);
                group.holed.set(group.holed.get() | new);
                self.lowest_group.set(self.lowest_group.get().min(index));
            }
        });
    }

    /// All of these slices went back. Of a huge page that lay in them nothing is left to be looked after.
    pub(crate) fn note_gone(&self, tables: &Tables, slices: Range<usize>) {
        let whole = whole_pages(tables, slices.start, slices.end);
        if whole.is_empty() {
            return self.note(tables, slices);
        }
        self.forget(tables, whole.clone());
        self.note(tables, slices.start..whole.start);
        self.note(tables, whole.end..slices.end);
    }

    /// These slices are no huge page any more.
    fn forget(&self, tables: &Tables, slices: Range<usize>) {
        for_each_group(slices.start, slices.len(), |index, mask| {
            self.clear(tables.group(index), mask);
            let huge = &tables.group(index).huge;
            huge.set(huge.get() & !mask);
        });
    }

    /// The slices of a huge page with holes, which is none any more. Those of which nothing is left, as it went back in parts, are passed
    /// over.
    pub(crate) fn take(&self, tables: &Tables, top: usize) -> Option<Range<usize>> {
        while !self.is_empty() {
            let groups = self.lowest_group.get()..top.div_ceil(64);
            let (index, bits) =
                groups.map(|index| (index, tables.group(index).holed.get())).find(|(_, bits)| *bits != 0)?;
            self.lowest_group.set(index);
            let Range { start, end } = huge_page_of(tables, index * 64 + bits.trailing_zeros() as usize);
            let range = start..end.min(top);
            self.forget(tables, range.clone());
            if !range.clone().all(|slice| tables.group(slice / 64).is_clean(slice)) {
                return Some(range);
            }
        }
        None
    }

    /// Counts anew, in a fork child that caught the lock's holder at work.
    pub(crate) fn recount(&self, tables: &Tables, top: usize) {
        let count = (0..top.div_ceil(64)).map(|index| tables.group(index).holed.get().count_ones() as usize);
        self.count.store(count.sum(), Ordering::Relaxed);
        self.lowest_group.set(0);
    }

    /// Checks the count.
    pub(crate) fn verify(&self, tables: &Tables, top: usize) {
        let before = self.count.load(Ordering::Relaxed);
        let lowest = self.lowest_group.get();
        self.recount(tables, top);
        assert_eq!(before, self.count.load(Ordering::Relaxed), "slices with holes");
        let is_clear = |index: usize| tables.group(index).holed.get() == 0;
        assert!((0..lowest.min(top.div_ceil(64))).all(is_clear), "holes below the lowest");
        self.lowest_group.set(lowest);
    }
}
