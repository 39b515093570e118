//! malloc's slow path: the next word with free blocks, the next span, or a new one.
//!
//! A refill is the heap's only poll point: at most 64 mallocs of a class pass between two of them. It stays on
//! a word whose blocks came back meanwhile (they are in the cache), else goes to the next one *after* the
//! current, and takes spans first in first out: so frees pile up before a word is visited again.

use crate::figures::ERROR_BYTES_PER_HEAP;
use crate::heap::{Heap, REQUEST_BYTES_MAX};
use crate::mailbox::{announce, drain};
use crate::size_class::{CLASSES, Geometry, SLICE_SHIFT, block_index, class_of_aligned};
use crate::span::{FLAG_KEEP, Listing, SliceState, SpanHeader};
use crate::thread_heap::{Queue, ThreadHeap};
use crate::word::{BLOCKS_PER_WORD, Word};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_os::Os;

/// Refills between two looks at the clock.
const POLLS_PER_CLOCK: u32 = 32;

impl<O: Os> Heap<O> {
    /// A block of at least `bytes` at a multiple of `align` (a power of two), or null if there is no memory.
    pub fn allocate_aligned(&self, heap: &ThreadHeap, bytes: usize, align: usize) -> *mut u8 {
        debug_assert!(align.is_power_of_two());
        if bytes > REQUEST_BYTES_MAX - align.min(REQUEST_BYTES_MAX) {
            return null_mut();
        }
        match class_of_aligned(bytes, align) {
            Some(class) => self.allocate_class(heap, class),
            None => self.allocate_large(heap, bytes, align),
        }
    }

    /// malloc of a class whose bin's word is used up.
    #[inline(never)]
    pub(crate) fn allocate_class(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        debug_assert!(!heap.is_sentinel());
        let bin = &heap.bins[class];
        heap.set_busy(true);
        // Look again: a signal handler may have refilled the bin before we were busy.
        let mut block = bin.take(self.expects_signals());
        // And again: one may take, by the fast path, what was just exposed.
        while block.is_null() && self.refill(heap, class) {
            block = bin.take(self.expects_signals());
        }
        heap.set_busy(false);
        block
    }

    /// Gives the bin of `class` a word with available blocks. False if there is no memory.
    #[inline]
    fn refill(&self, heap: &ThreadHeap, class: usize) -> bool {
        self.poll(heap);
        let geometry = &CLASSES[class];
        if let Some((span, word)) = heap.bins[class].span() {
            if self.refill_from(heap, class, geometry, span, word) {
                return true;
            }
            self.leave(heap, class, span);
        }
        self.refill_from_next_span(heap, class, geometry)
    }

    fn refill_from_next_span(&self, heap: &ThreadHeap, class: usize, geometry: &Geometry) -> bool {
        while let Some(span) = self.queue_pop(&heap.queues[class]) {
            self.header(span).set_listing(Listing::Current);
            if self.refill_from(heap, class, geometry, span, 0) {
                return true;
            }
            self.leave(heap, class, span);
        }
        let Some(span) = self.make_span(heap, class) else {
            heap.bins[class].clear();
            return false;
        };
        self.header(span).set_listing(Listing::Current);
        let refilled = self.refill_from(heap, class, geometry, span, 0);
        assert!(refilled, "a new span has free blocks");
        true
    }

    /// Exposes a word of `span`: word `from` if enough of it is free again, else the next one behind it.
    #[inline]
    fn refill_from(
        &self,
        heap: &ThreadHeap,
        class: usize,
        geometry: &Geometry,
        span: usize,
        from: u32,
    ) -> bool {
        let header = self.header(span);
        let mut summary = header.summary.load(Ordering::Relaxed) & (!0 << from);
        let others = summary & !(1 << from);
        if others != summary && others != 0 {
            let free = self.word(header, from).freed() & !geometry.absent;
            if free.count_ones() < geometry.expose_max / 2 {
                summary = others;
            }
        }
        if summary == 0 {
            return false;
        }
        self.expose(heap, class, geometry, span, summary.trailing_zeros());
        true
    }

    #[inline]
    fn expose(&self, heap: &ThreadHeap, class: usize, geometry: &Geometry, span: usize, index: u32) {
        let header = self.header(span);
        let word = self.word(header, index);
        // Until there are none: a second free that comes while the first is being claimed finds the block in no
        // set, and is accepted. The look that finds nothing comes after the first was filed, so it can't be missed.
        while word.has_remote() {
            self.claim(heap, header, span, index);
        }
        let freed = word.freed();
        if freed == !0 {
            self.unfill(heap, header, index);
        }
        let chosen = lowest_bits(freed & !geometry.absent, geometry.expose_max);
        let left = freed & !chosen;
        if left == geometry.absent {
            let summary = header.summary.load(Ordering::Relaxed);
            header.summary.store(summary & !(1 << index), Ordering::Relaxed);
        }
        let distance = index as usize * BLOCKS_PER_WORD * geometry.block_bytes as usize;
        let base = self.block_place(header.start.load(Ordering::Relaxed) + distance);
        let bin = &heap.bins[class];
        bin.clear();
        word.expose(chosen);
        bin.set(span, index, word, base);
        if word.freed() != left {
            // A signal handler freed into the word when its summary bit was on its way out.
            self.settle_word(heap, header, span, index);
        }
    }

    /// A word of free blocks is put to use.
    fn unfill(&self, heap: &ThreadHeap, header: &SpanHeader, index: u32) {
        let full = header.full.load(Ordering::Relaxed);
        if full & 1 << index != 0 {
            header.full.store(full & !(1 << index), Ordering::Relaxed);
            self.add_live(heap, header.word_bytes() as i64);
        }
    }

    #[inline(always)]
    pub(crate) fn word<'a>(&self, header: &'a SpanHeader, index: u32) -> &'a Word {
        debug_assert!(index < header.word_count());
        // SAFETY: callers name words of the span as it is cut now, which only its owner changes.
        unsafe { header.word_of(index as usize * BLOCKS_PER_WORD) }
    }

    /// The bin moves on from a span: it is queued if it has freed blocks, else it is full.
    fn leave(&self, heap: &ThreadHeap, class: usize, span: usize) {
        let header = self.header(span);
        if header.summary.load(Ordering::Relaxed) != 0 {
            heap.bins[class].clear();
            self.queue_push(&heap.queues[class], span);
            self.retire_if_free(heap, span);
        } else {
            heap.bins[class].clear();
            header.set_listing(Listing::Full);
        }
    }

    /// A new span of `class`, owned by `heap`, in no list.
    fn make_span(&self, heap: &ThreadHeap, class: usize) -> Option<usize> {
        let geometry = &CLASSES[class];
        let span = {
            let _guard = self.lock();
            let tables = self.tables();
            let run = self.slices.allocate(tables, &self.os, geometry.slices as usize, 1)?;
            self.publish_limit();
            let header = tables.header(run.start);
            let padded = geometry.padded_words.max(geometry.words) as usize;
            let Some(words) = self.words.provide(tables, &self.os, header, padded) else {
                self.slices.free(tables, run.start, run.count);
                return None;
            };
            header.make_small(tables.slice_start(run.start).as_ptr().addr(), class, geometry, words);
            for back in 1..run.count {
                tables.header(run.start + back).make_interior(back as u32);
            }
            self.note_spans();
            run.start
        };
        let flags = if self.keep.load(Ordering::Relaxed) { FLAG_KEEP } else { 0 };
        self.header(span).publish(heap.me.get() | flags);
        Some(span)
    }

    /// Writes the spans' size down. Under the lock.
    pub(crate) fn note_spans(&self) {
        let bytes = self.slices.used_count() * crate::size_class::SLICE_BYTES;
        self.figures().set_spans(bytes as u64);
    }

    pub(crate) fn add_live(&self, heap: &ThreadHeap, delta: i64) {
        let sum = heap.live_delta.get() + delta;
        if sum.unsigned_abs() >= ERROR_BYTES_PER_HEAP {
            heap.live_delta.set(0);
            self.figures().add_live(sum);
        } else {
            heap.live_delta.set(sum);
        }
    }

    /// What has to be looked at now and then: mail, and the clock.
    #[inline]
    fn poll(&self, heap: &ThreadHeap) {
        if heap.shared.mailbox.has_mail() {
            self.drain_mail(heap);
        }
        let polls = heap.polls.get() + 1;
        if polls < POLLS_PER_CLOCK {
            heap.polls.set(polls);
        } else {
            heap.polls.set(0);
            self.tick();
        }
    }

    /// Takes over what other threads freed. The caller holds the heap's state.
    pub(crate) fn drain_mail(&self, heap: &ThreadHeap) {
        drain(self, heap.index(), |span, words| {
            let span = span as usize;
            let header = self.header(span);
            let mut rest = words & (u64::MAX >> (64 - header.word_count()));
            while rest != 0 {
                let index = rest.trailing_zeros();
                rest &= rest - 1;
                self.claim(heap, header, span, index);
            }
            self.retire_if_free(heap, span);
        });
    }

    /// Files the remote frees of a word under `freed`.
    fn claim(&self, heap: &ThreadHeap, header: &SpanHeader, span: usize, index: u32) {
        let word = self.word(header, index);
        word.has_remote();
        let place = core::ptr::from_ref(word).cast_mut();
        let in_transit = |moving| heap.set_transit(if moving { place } else { null_mut() });
        let mut doubles = word.claim(&header.claims, in_transit);
        self.settle_word(heap, header, span, index);
        while doubles != 0 {
            let block = index as usize * BLOCKS_PER_WORD + doubles.trailing_zeros() as usize;
            doubles &= doubles - 1;
            let block_bytes = header.block_bytes.load(Ordering::Relaxed);
            self.report_late(header.start.load(Ordering::Relaxed) + block * block_bytes, block_bytes);
        }
    }

    /// Files all remote frees of a span.
    pub(crate) fn claim_all(&self, heap: &ThreadHeap, span: usize) {
        let header = self.header(span);
        for index in 0..header.word_count() {
            self.claim(heap, header, span, index);
        }
    }

    /// Brings a span's lists into line with a word that got freed blocks; harmless if they are already. True if all
    /// blocks of the word are free.
    #[inline]
    fn settle_word(&self, heap: &ThreadHeap, header: &SpanHeader, span: usize, index: u32) -> bool {
        let freed = self.word(header, index).freed();
        let summary = header.summary.load(Ordering::Relaxed);
        if summary & 1 << index == 0 && freed != header.absent.load(Ordering::Relaxed) {
            // Refills find the word from now on.
            header.summary.store(summary | 1 << index, Ordering::Relaxed);
            if header.listing() == Listing::Full {
                self.queue_push(&heap.queues[usize::from(header.class.load(Ordering::Relaxed))], span);
            }
        }
        freed == !0 && {
            self.fill(heap, header, index);
            true
        }
    }

    /// All blocks of a word are free.
    fn fill(&self, heap: &ThreadHeap, header: &SpanHeader, index: u32) {
        let full = header.full.load(Ordering::Relaxed);
        if full & 1 << index == 0 {
            header.full.store(full | 1 << index, Ordering::Relaxed);
            self.add_live(heap, -(header.word_bytes() as i64));
        }
    }

    /// A free by the owner was its word's first or last: files it. In a signal handler that interrupted a slow
    /// path the lists are not to be touched; the word is then announced as if another thread had freed it.
    #[inline(never)]
    pub fn free_edge(&self, heap: &ThreadHeap, block: *mut u8) {
        let Some((span, index)) = self.own_word(heap, block.addr()) else { return };
        if heap.is_busy() {
            announce(self, span as u32, index);
            return;
        }
        heap.set_busy(true);
        if self.settle_word(heap, self.header(span), span, index) {
            self.retire_if_free(heap, span);
        }
        heap.set_busy(false);
    }

    /// The span and word of a block that `heap`'s thread has just freed. None if a signal handler has freed the
    /// span's last block, and with it the span, since.
    #[inline]
    fn own_word(&self, heap: &ThreadHeap, address: usize) -> Option<(usize, u32)> {
        let slice = self.offset_of(address)? >> SLICE_SHIFT;
        let header = self.header(slice);
        if header.owner_and_flags.load(Ordering::Relaxed) == heap.me.get() {
            let index = block_index(address as u16, header.inverse.load(Ordering::Relaxed))?;
            let index = (index / BLOCKS_PER_WORD) as u32;
            return (index < header.word_count()).then_some((slice, index));
        }
        self.own_word_behind(heap, address, slice)
    }

    /// The same for a block that does not begin in its span's first slice.
    fn own_word_behind(&self, heap: &ThreadHeap, address: usize, slice: usize) -> Option<(usize, u32)> {
        if self.header(slice).state() != SliceState::Interior {
            return None;
        }
        let span = slice - self.header(slice).slices.load(Ordering::Relaxed) as usize;
        let header = self.header(span);
        let owned = header.state() == SliceState::Small && header.owner() == Some(heap.index());
        let distance = address - header.start.load(Ordering::Relaxed);
        let index = (distance / header.block_bytes.load(Ordering::Relaxed) / BLOCKS_PER_WORD) as u32;
        (owned && index < header.word_count()).then_some((span, index))
    }

    /// Gives a span back that has no live block, unless it is all that its bin has.
    pub(crate) fn retire_if_free(&self, heap: &ThreadHeap, span: usize) {
        let header = self.header(span);
        if !header.all_free() || header.listing() != Listing::Queued {
            return;
        }
        let queue = &heap.queues[usize::from(header.class.load(Ordering::Relaxed))];
        if queue.first.get() == queue.last.get() {
            return;
        }
        self.queue_unlink(queue, span);
        self.retire(span);
    }

    /// Gives a span's slices back. It is in no list, and no block of it is live.
    pub(crate) fn retire(&self, span: usize) {
        let pressed = {
            let _guard = self.lock();
            let tables = self.tables();
            let header = tables.header(span);
            let slices = header.slices.load(Ordering::Relaxed) as usize;
            header.retire();
            self.slices.free(tables, span, slices);
            self.note_spans();
            self.slices.is_pressed()
        };
        self.after_retire(pressed);
    }

    pub(crate) fn queue_push(&self, queue: &Queue, span: usize) {
        let header = self.header(span);
        let last = queue.last.get();
        header.next.store(0, Ordering::Relaxed);
        header.previous.store(last, Ordering::Relaxed);
        header.set_listing(Listing::Queued);
        match last.checked_sub(1) {
            Some(last) => self.header(last as usize).next.store(span as u32 + 1, Ordering::Relaxed),
            None => queue.first.set(span as u32 + 1),
        }
        queue.last.set(span as u32 + 1);
    }

    fn queue_pop(&self, queue: &Queue) -> Option<usize> {
        let first = queue.first.get().checked_sub(1)? as usize;
        self.queue_unlink(queue, first);
        Some(first)
    }

    pub(crate) fn queue_unlink(&self, queue: &Queue, span: usize) {
        let header = self.header(span);
        debug_assert_eq!(header.listing(), Listing::Queued);
        let next = header.next.load(Ordering::Relaxed);
        let previous = header.previous.load(Ordering::Relaxed);
        match previous.checked_sub(1) {
            Some(previous) => self.header(previous as usize).next.store(next, Ordering::Relaxed),
            None => queue.first.set(next),
        }
        match next.checked_sub(1) {
            Some(next) => self.header(next as usize).previous.store(previous, Ordering::Relaxed),
            None => queue.last.set(previous),
        }
        header.set_listing(Listing::Full);
    }
}

/// The lowest `count` set bits.
#[inline]
fn lowest_bits(bits: u64, count: u32) -> u64 {
    if count as usize == BLOCKS_PER_WORD || bits.count_ones() <= count {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest - 1;
    }
    bits & !rest
}
