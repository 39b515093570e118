//! The reservation and the tables in it.
//!
//! ```text
//! | headers | words | groups | heaps |            slices                 | guards |
//!   256 B     2 KiB   free     thread  64 KiB each, blocks start here      of hk-guard,
//!   a slice   a slice and      heaps                                       if blocks are
//!             at most dirty                                                guarded
//! ```
//!
//! One reservation holds everything, so that no later mmap is needed and none can fail. All parts are made
//! accessible in steps, from their start: a program that locks its memory, or a system that counts every
//! committed page, must not see gigabytes. What was never made accessible can be given back
//! ([`Tables::shrink`]); what remains of each part is its start.

use crate::contents::Area;
use crate::size_class::{SLICE_BYTES, SLICE_SHIFT};
use crate::slices::Group;
use crate::span::SpanHeader;
use crate::thread_heap::ThreadHeap;
use crate::word::{BLOCKS_PER_WORD, Word};
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use hk_os::Os;

/// Address space that is asked for; halved until the system grants it.
pub const RESERVE_BYTES_MAX: usize = 1 << 40;
/// Below this a heap is not worth having.
pub const RESERVE_BYTES_MIN: usize = 4 << 20;
/// Tables grow by this much.
const TABLE_STEP_BYTES: usize = 64 << 10;
/// Slices grow by at least this much, or an eighth of what there is, up to the maximum.
const SLICE_STEP_BYTES: usize = 1 << 20;
const SLICE_STEP_BYTES_MAX: usize = 64 << 20;
/// A huge page (x86-64 and most others).
pub const HUGE_BYTES: usize = 2 << 20;
/// Slices beyond those in use that a reservation keeps however far it is to shrink.
const SPARE_SLICES: usize = (4 << 20) / SLICE_BYTES;

/// A part of the reservation, accessible up to `committed`. Changed under the central lock only.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    /// Read without the lock too: it only ever falls, to no less than what is accessible.
    bytes: AtomicUsize,
    committed: Cell<usize>,
}

impl Region {
    fn new(start: NonNull<u8>, bytes: usize) -> Self {
        Region { start, bytes: AtomicUsize::new(bytes), committed: Cell::new(0) }
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start.as_ptr().addr()) < self.bytes()
    }

    /// Gives back what lies behind the first `bytes`, or behind what is accessible if that is more. Tells how much.
    fn cut(&self, os: &impl Os, bytes: usize) -> usize {
        let present = self.bytes();
        let kept = bytes.max(self.committed.get()).next_multiple_of(SLICE_BYTES).min(present);
        if kept < present {
            self.bytes.store(kept, Ordering::Relaxed);
            // SAFETY: kept < present, inside the region.
            let tail = unsafe { self.start.add(kept) };
            // SAFETY: never accessible, so nothing uses it; and from now on the region ends before it.
            unsafe { os.release(tail, present - kept) };
        }
        present - kept
    }

    /// Bytes accessible.
    pub fn committed(&self) -> usize {
        self.committed.get()
    }

    /// Makes the first `needed` bytes accessible, and `step` more to be ahead if that is granted. False if not.
    pub fn ensure(&self, os: &impl Os, needed: usize, step: usize) -> bool {
        let committed = self.committed.get();
        if needed <= committed {
            return true;
        }
        let bytes = self.bytes();
        if needed > bytes {
            return false;
        }
        let ahead = needed.max(committed + step).next_multiple_of(TABLE_STEP_BYTES).min(bytes);
        let exact = needed.next_multiple_of(4096).min(bytes);
        self.extend(os, ahead) || self.extend(os, exact)
    }

    fn extend(&self, os: &impl Os, end: usize) -> bool {
        let committed = self.committed.get();
        // SAFETY: committed < bytes, inside the reservation.
        let from = unsafe { self.start.add(committed) };
        // SAFETY: the range lies in this region of the reservation.
        let done = unsafe { os.commit(from, end - committed) };
        if done {
            self.committed.set(end);
        }
        done
    }
}

/// Where everything lies.
#[derive(Debug)]
pub struct Tables {
    /// One [`SpanHeader`] per slice.
    pub headers: Region,
    /// Words, cut off as spans need them.
    pub words: Region,
    /// One [`Group`] per 64 slices.
    pub groups: Region,
    /// Thread heaps.
    pub heaps: Region,
    /// The slices.
    pub slices: Region,
    /// Room for guarded blocks; empty if there are to be none.
    pub guards: Region,
    /// Changed under the central lock, read without it.
    slice_count: AtomicUsize,
    reserved_bytes: AtomicUsize,
    prefers_huge: Cell<bool>,
}

/// Room for thread heaps: 8 MiB (some 1,400 threads at the same time), or an eighth of a small reservation; 1 GiB of 1 TiB.
const HEAP_BYTES_MIN: usize = 8 << 20;
const HEAP_BYTES_PER_SLICE: usize = 64;

const fn region_bytes(slices: usize) -> [usize; 5] {
    let eighth = slices * SLICE_BYTES / 8;
    let heaps_min = if eighth < HEAP_BYTES_MIN { eighth } else { HEAP_BYTES_MIN };
    let heaps = slices * HEAP_BYTES_PER_SLICE;
    [
        (slices * size_of::<SpanHeader>()).next_multiple_of(SLICE_BYTES),
        (slices * BLOCKS_PER_WORD * size_of::<Word>()).next_multiple_of(SLICE_BYTES),
        (slices.div_ceil(64) * size_of::<Group>()).next_multiple_of(SLICE_BYTES),
        (if heaps < heaps_min { heaps_min } else { heaps }).next_multiple_of(SLICE_BYTES),
        slices * SLICE_BYTES,
    ]
}

const fn total(bytes: [usize; 5]) -> usize {
    bytes[0] + bytes[1] + bytes[2] + bytes[3] + bytes[4]
}

/// How many slices fit into `bytes` together with their tables; 0 if not even the tables' least size does.
fn slices_in(bytes: usize) -> usize {
    let mut slices = bytes / SLICE_BYTES;
    while slices > 0 && total(region_bytes(slices)) > bytes {
        let excess = (total(region_bytes(slices)) - bytes).div_ceil(2 * SLICE_BYTES);
        slices = slices.saturating_sub(excess);
    }
    slices
}

impl Tables {
    /// Reserves address space: `bytes_max`, or the largest half of a half of it that is granted. Under a limit
    /// on address space at most three quarters of what is left, for the program maps memory too.
    ///
    /// With `guards`, a quarter of it is for guarded blocks.
    pub fn reserve(os: &impl Os, bytes_max: usize, guards: bool) -> Option<Tables> {
        let cap = os.address_space_left().map_or(bytes_max, |left| bytes_max.min(left / 4 * 3));
        let mut bytes = cap & !(SLICE_BYTES - 1);
        while bytes >= RESERVE_BYTES_MIN {
            if let Some(start) = os.reserve(bytes) {
                return Some(Self::lay_out(start, bytes, guards));
            }
            bytes = (bytes / 2) & !(SLICE_BYTES - 1);
        }
        None
    }

    fn lay_out(start: NonNull<u8>, bytes: usize, guards: bool) -> Tables {
        let guard_bytes = if guards { (bytes / 4) & !(SLICE_BYTES - 1) } else { 0 };
        let slice_count = slices_in(bytes - guard_bytes);
        let [headers, words, groups, heaps, slices] = region_bytes(slice_count);
        let sizes = [headers, words, groups, heaps, slices, guard_bytes];
        let mut at = 0;
        let regions = sizes.map(|size| {
            // SAFETY: the sizes add up to at most `bytes`.
            let region = Region::new(unsafe { start.add(at) }, size);
            at += size;
            region
        });
        let [headers, words, groups, heaps, slices, guards] = regions;
        Tables {
            headers,
            words,
            groups,
            heaps,
            slices,
            guards,
            slice_count: AtomicUsize::new(slice_count),
            reserved_bytes: AtomicUsize::new(bytes),
            prefers_huge: Cell::new(false),
        }
    }

    fn regions(&self) -> [&Region; 6] {
        [&self.headers, &self.words, &self.groups, &self.heaps, &self.slices, &self.guards]
    }

    /// Gives address space back that was never made accessible, until `bytes_max` remain reserved or no more than is
    /// in use and a little to grow. Under the central lock. It can't be had again.
    pub fn shrink(&self, os: &impl Os, bytes_max: usize) {
        let in_use = self.slices.committed().div_ceil(SLICE_BYTES);
        let guard_bytes = if self.guards.bytes() > 0 { bytes_max / 4 } else { 0 };
        let slices = slices_in(bytes_max - guard_bytes).max(in_use + SPARE_SLICES);
        if slices >= self.slice_count() {
            return;
        }
        // First of all, so that nobody asks for what is about to go.
        self.slice_count.store(slices, Ordering::Relaxed);
        let cut: usize = self
            .regions()
            .into_iter()
            .zip(region_bytes(slices).into_iter().chain([guard_bytes]))
            .map(|(region, bytes)| region.cut(os, bytes))
            .sum();
        self.reserved_bytes.store(self.reserved_bytes() - cut, Ordering::Relaxed);
    }

    /// Number of slices.
    #[inline]
    pub fn slice_count(&self) -> usize {
        self.slice_count.load(Ordering::Relaxed)
    }

    /// Bytes of address space reserved in all.
    pub fn reserved_bytes(&self) -> usize {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    /// What is reserved: the first address, and how many bytes from there on.
    pub fn reservation(&self) -> (usize, usize) {
        (self.headers.start.addr().get(), self.reserved_bytes())
    }

    /// Calls `found` with each part that is left of it: what it is for, its first address and its bytes.
    pub(crate) fn for_each_part(&self, found: &mut impl FnMut(Area, usize, usize)) {
        use Area::{Blocks, Guards, Tables};
        let kinds = [Tables, Tables, Tables, Tables, Blocks, Guards];
        for (region, kind) in self.regions().into_iter().zip(kinds) {
            found(kind, region.start.addr().get(), region.bytes());
        }
    }

    /// Whether an address lies in what is reserved.
    pub fn contains(&self, address: usize) -> bool {
        self.regions().into_iter().any(|region| region.contains(address))
    }

    /// Address of slice 0.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.slices.start
    }

    /// Bytes of all slices.
    pub fn limit(&self) -> usize {
        self.slice_count() * SLICE_BYTES
    }

    /// The header table.
    pub fn header_table(&self) -> *const SpanHeader {
        self.headers.start.as_ptr().cast_const().cast()
    }

    /// Room for thread heaps, in bytes.
    pub fn heaps_bytes(&self) -> usize {
        self.heaps.bytes()
    }

    /// The header of a slice below the commit line.
    ///
    /// # Panics
    /// If the slice's header was never committed.
    #[inline]
    pub fn header(&self, slice: usize) -> &SpanHeader {
        assert!(slice < self.slice_count());
        // SAFETY: below slice_count, so inside the header region.
        let header = unsafe { self.header_table().add(slice) };
        // SAFETY: callers only ask for slices below the top, whose headers are committed (zero is a valid
        // header), and headers are only accessed as atomics.
        unsafe { &*header }
    }

    /// The group of slices `64 * index ..`, committed.
    pub fn group(&self, index: usize) -> &Group {
        let groups: *const Group = self.groups.start.as_ptr().cast_const().cast();
        // SAFETY: inside the region: callers stay below the top.
        let group = unsafe { groups.add(index) };
        // SAFETY: committed with the slices; only accessed under the central lock, through cells.
        unsafe { &*group }
    }

    /// Thread heap `index`, committed.
    pub fn heap(&self, index: usize) -> &ThreadHeap {
        let heaps: *const ThreadHeap = self.heaps.start.as_ptr().cast_const().cast();
        // SAFETY: inside the region: callers stay below the heap count.
        let heap = unsafe { heaps.add(index) };
        // SAFETY: committed and written before the heap count went past it; never unmapped.
        unsafe { &*heap }
    }

    /// The place of thread heap `index`, not yet written.
    pub fn heap_place(&self, index: usize) -> *mut ThreadHeap {
        let heaps: *mut ThreadHeap = self.heaps.start.as_ptr().cast();
        heaps.wrapping_add(index)
    }

    /// Where guarded blocks may lie: start and bytes; no bytes if there are to be none.
    pub fn guard_area(&self) -> (NonNull<u8>, usize) {
        (self.guards.start, self.guards.bytes())
    }

    /// Makes the first `bytes` of that accessible.
    pub fn ensure_guards(&self, os: &impl Os, bytes: usize) -> bool {
        self.guards.ensure(os, bytes, 0)
    }

    /// Start of slice `slice`.
    pub fn slice_start(&self, slice: usize) -> NonNull<u8> {
        assert!(slice < self.slice_count());
        // SAFETY: inside the slices region.
        unsafe { self.base().add(slice << SLICE_SHIFT) }
    }

    /// Number of slice 0 counted from address 0: the reservation begins in the midst of a huge page.
    pub(crate) fn base_slice(&self) -> usize {
        self.base().as_ptr().addr() >> SLICE_SHIFT
    }

    /// The place of words from `offset` bytes on.
    pub fn word_place(&self, offset: usize) -> *mut Word {
        self.words.start.as_ptr().wrapping_add(offset).cast()
    }

    /// Makes all tables and slices up to `slice_end` accessible.
    pub fn ensure_slices(&self, os: &impl Os, slice_end: usize) -> bool {
        let before = self.slices.committed();
        let step = (before / 8).clamp(SLICE_STEP_BYTES, SLICE_STEP_BYTES_MAX);
        let ensured = self.headers.ensure(os, slice_end * size_of::<SpanHeader>(), TABLE_STEP_BYTES)
            && self.groups.ensure(os, slice_end.div_ceil(64) * size_of::<Group>(), TABLE_STEP_BYTES)
            && (self.prefers_huge.get() && self.slices.ensure(os, self.whole_pages(slice_end), step)
                || self.slices.ensure(os, slice_end * SLICE_BYTES, step));
        if self.prefers_huge.get() {
            self.ask_for_huge(os, before);
        }
        ensured
    }

    /// Whether from now on the slices are to lie in huge pages, what is accessible already and what will be; what was asked for before
    /// stays asked for. Under the central lock.
    pub fn prefer_huge(&self, os: &impl Os, prefers: bool) {
        if !self.prefers_huge.replace(prefers) && prefers {
            self.ask_for_huge(os, 0);
        }
    }

    /// Bytes up to the end of the huge page that the slices up to `slice_end` reach into: one of which a part is not accessible when it is
    /// touched first comes in small pages.
    fn whole_pages(&self, slice_end: usize) -> usize {
        let base = self.base().as_ptr().addr();
        (base + slice_end * SLICE_BYTES).next_multiple_of(HUGE_BYTES) - base
    }

    /// For what is accessible of the slices from `offset` on.
    fn ask_for_huge(&self, os: &impl Os, offset: usize) {
        let end = self.slices.committed();
        if offset < end {
            // SAFETY: inside the slices region.
            let start = unsafe { self.base().add(offset) };
            // SAFETY: up to `end` it is committed.
            unsafe { os.prefer_huge(start, end - offset) };
        }
    }

    /// Makes the first `bytes` of the word table accessible.
    pub fn ensure_words(&self, os: &impl Os, bytes: usize) -> bool {
        self.words.ensure(os, bytes, TABLE_STEP_BYTES)
    }

    /// Makes the first `count` thread heaps accessible.
    pub fn ensure_heaps(&self, os: &impl Os, count: usize) -> bool {
        self.heaps.ensure(os, count * size_of::<ThreadHeap>(), TABLE_STEP_BYTES)
    }
}
