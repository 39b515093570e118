//! malloc's slow path: the next word with free blocks, the next span, or a new one.
//!
//! When the word of a class's bin is used up, malloc
//!
//! 1. *stays* on it if enough of it came back meanwhile: those blocks are in the cache;
//! 2. or *steps* to the next word of the span that is exposed already;
//! 3. or *visits* a span: exposes what is free in all of its words, for one fence, or if that is too little, words that were never
//!    used, a page at a time. Spans are visited first in first out, so that frees pile up before one is visited again.
//!
//! All of these *poll*: no more mallocs of a class than a word has blocks pass between two polls. Now and then a poll looks for mail and
//! at the clock ([`crate::pace`]); for mail also before memory is taken that was not in use.

use crate::figures::ERROR_BYTES_PER_HEAP;
use crate::heap::{Heap, REQUEST_BYTES_MAX};
use crate::mailbox::{HeapIndex, SpanIndex, announce, drain};
use crate::population::count;
use crate::purge::Tick;
use crate::signal_safe;
use crate::size_class::{CLASSES, Geometry, SLICE_SHIFT, class_of_aligned};
use crate::slices::populate_run;
use crate::span::{Listing, SliceState, SpanHeader};
use crate::thread_heap::{Queue, ThreadHeap};
use crate::word::{BLOCKS_PER_WORD, Claimed, Word};
use core::ops::Range;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_os::Os;

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

    /// malloc of a size that the fast path leaves alone, or that needs an alignment.
    #[inline(never)]
    pub(crate) fn allocate_class(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        debug_assert!(!heap.is_busy());
        heap.set_busy(true);
        match heap.bins[class].take() {
            Some(block) => {
                heap.set_busy(false);
                block
            }
            None => self.allocate_refilled(heap, class),
        }
    }

    /// A block of `class`, whose bin's word is used up; null if there is no memory. `heap` is busy, and not a sentinel; when it is
    /// done it is no longer busy.
    #[inline]
    pub fn allocate_refilled(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        debug_assert!(heap.is_busy() && !heap.is_sentinel());
        let (bin, cursor) = (&heap.bins[class], &heap.cursors[class]);
        if cursor.unpark(bin)
            && let Some(block) = bin.take()
        {
            heap.set_busy(false);
            return block;
        }
        self.poll(heap);
        let stays = cursor.stays(bin) && self.stay(heap, class);
        let block = if stays || cursor.step(bin) || self.refill(heap, class) { bin.take() } else { None };
        heap.set_busy(false);
        block.unwrap_or(null_mut())
    }

    /// Gives the bin of `class`, which has no exposed word, one with available blocks. False if there is no memory.
    #[inline(never)]
    fn refill(&self, heap: &ThreadHeap, class: usize) -> bool {
        let geometry = &CLASSES[class];
        if let Some(span) = heap.bins[class].span() {
            let header = self.header(span);
            if !has_enough_free(geometry, header) && heap.queues[class].first.get() == 0 {
                // Before pages are touched that were not in use: others may have freed what is.
                self.drain_if_mail(heap);
            }
            if heap.queues[class].first.get() == 0 && worth_a_visit(heap, class, geometry, header) {
                self.visit(heap, class, geometry, header, span);
                return true;
            }
            self.leave(heap, class, span);
        }
        self.refill_from_next_span(heap, class, geometry)
    }

    fn refill_from_next_span(&self, heap: &ThreadHeap, class: usize, geometry: &Geometry) -> bool {
        let queue = &heap.queues[class];
        let mut queued = self.queue_pop(queue);
        if queued.is_none() && self.drain_if_mail(heap) {
            queued = self.queue_pop(queue);
        }
        let Some(span) = queued.or_else(|| self.make_span(heap, class)) else { return false };
        heap.cursors[class].begin_span();
        let header = self.header(span);
        header.set_listing(Listing::Current);
        self.visit(heap, class, geometry, header, span);
        true
    }

    /// Exposes the bin's present word again.
    fn stay(&self, heap: &ThreadHeap, class: usize) -> bool {
        let bin = &heap.bins[class];
        let Some(span) = bin.span() else { return false };
        let (geometry, header) = (&CLASSES[class], self.header(span));
        // The bin counted blocks that were never used too.
        let freed =
            self.word(header, bin.word_index()).freed() & header.tally.touched_of_word(bin.word_index());
        if count(freed) < geometry.expose_max / 2 {
            return false;
        }
        self.fence_frees();
        let count = self.expose(heap, geometry, header, bin.word_index());
        header.tally.note_exposed(count);
        self.count_span(heap, header);
        count > 0
    }

    /// Exposes free blocks of a span that has some, and gives it to the bin. No block of it is exposed.
    fn visit(&self, heap: &ThreadHeap, class: usize, geometry: &Geometry, header: &SpanHeader, span: usize) {
        let tally = &header.tally;
        let touched = tally.touched();
        let mut exposed = 0;
        if has_enough_free(geometry, header) || touched == geometry.block_count {
            exposed = self.expose_blocks(heap, geometry, header, 0..touched);
        }
        if exposed == 0 {
            let fresh = fresh_blocks(geometry, touched, heap.cursors[class].needs_many());
            let end = (touched + fresh).min(geometry.block_count);
            tally.set_touched(end);
            exposed = self.expose_blocks(heap, geometry, header, touched..end);
        }
        assert!(exposed != 0, "a span that is visited has free blocks");
        self.count_span(heap, header);
        self.arm(geometry, header);
        let words = header.words.load(Ordering::Relaxed);
        let start = self.block_place(header.start.load(Ordering::Relaxed));
        heap.cursors[class].enter(&heap.bins[class], span, words, start, exposed);
    }

    /// Exposes what is free in the words of some blocks; gives those where something is.
    fn expose_blocks(
        &self,
        heap: &ThreadHeap,
        geometry: &Geometry,
        header: &SpanHeader,
        blocks: Range<u32>,
    ) -> u64 {
        self.fence_frees();
        let (mut exposed, mut total) = (0, 0);
        for index in blocks.start / BLOCKS_PER_WORD as u32..blocks.end.div_ceil(BLOCKS_PER_WORD as u32) {
            if self.expects_signals() {
                // A handler may have freed since.
                self.fence_frees();
            }
            let count = self.expose(heap, geometry, header, index);
            exposed |= u64::from(count > 0) << index;
            total += count;
        }
        header.tally.note_exposed(total);
        exposed
    }

    /// Exposes the lowest free blocks of a word, after a fence; says how many.
    #[inline]
    fn expose(&self, heap: &ThreadHeap, geometry: &Geometry, header: &SpanHeader, index: u32) -> u32 {
        let word = self.word(header, index);
        // Until there are none: a second free that comes while the first is being claimed finds the block in no
        // set, and is accepted. The look that finds nothing comes after the first was filed, so it can't be missed.
        let mut has_remote = word.has_remote_after_fence();
        while has_remote {
            self.claim(heap, header, index);
            has_remote = word.has_remote();
        }
        let freed = word.freed() & header.tally.touched_of_word(index);
        if freed == 0 {
            return 0;
        }
        let mut chosen = freed;
        let mut chosen_count = count(freed);
        if chosen_count > geometry.expose_max {
            chosen = lowest_bits(freed, geometry.expose_max);
            chosen_count = geometry.expose_max;
        }
        word.expose(chosen);
        chosen_count
    }

    #[inline(always)]
    pub(crate) fn word<'a>(&self, header: &'a SpanHeader, index: u32) -> &'a Word {
        debug_assert!(index < header.word_count());
        // SAFETY: callers name words of the span as it is cut now, which only its owner changes.
        unsafe { header.word_of(index as usize * BLOCKS_PER_WORD) }
    }

    /// The bin moves on from a span, which is queued if it has enough free blocks.
    fn leave(&self, heap: &ThreadHeap, class: usize, span: usize) {
        heap.cursors[class].leave(&heap.bins[class]);
        self.header(span).set_listing(Listing::Full);
        self.settle(heap, span);
    }

    /// A new span of `class`, owned by `heap`, in no list.
    fn make_span(&self, heap: &ThreadHeap, class: usize) -> Option<usize> {
        let geometry = &CLASSES[class];
        let (span, huge) = {
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
            // Under the lock, so that a fork in a signal handler finds the span in its owner's hands.
            header.publish(heap.owner_word() | self.span_flags());
            let huge = if self.opens_huge_pages() && heap.fills_spans() {
                self.slices.open_huge(tables, &self.os, run)
            } else {
                None
            };
            (run.start, huge)
        };
        heap.span_count.set(heap.span_count.get() + 1);
        heap.cursors[class].note_made();
        if let Some(huge) = huge {
            populate_run(self.tables(), &self.os, huge);
        }
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

    /// What has to be looked at now and then: mail, and the clock. See [`crate::pace`].
    #[inline]
    fn poll(&self, heap: &ThreadHeap) {
        if heap.pace.is_due() {
            self.look(heap);
        }
    }

    #[inline(never)]
    fn look(&self, heap: &ThreadHeap) {
        let now = self.os.now_ms();
        if heap.pace.note_look(now) {
            self.drain_if_mail(heap);
        }
        let gave_back = self.tick_at(now) != Tick::Idle
            || self.purge_idle_pages(heap) != Tick::Idle
            || self.purge_if_pressed();
        if gave_back || self.split_holed() {
            // What one call may not give back, the next one does.
            heap.pace.hurry();
        } else {
            self.purge_orphans_pages();
        }
    }

    /// True if there was mail.
    fn drain_if_mail(&self, heap: &ThreadHeap) -> bool {
        let has_mail = heap.shared.mailbox.has_mail();
        if has_mail {
            self.drain_mail(heap);
        }
        has_mail
    }

    /// Takes over what other threads freed. The caller holds the heap's state.
    pub(crate) fn drain_mail(&self, heap: &ThreadHeap) {
        self.drain_mail_and(heap, |owner| _ = self.drain_if_ownerless(owner));
    }

    /// The same; `sent_on` is told who got spans that changed hands.
    pub(crate) fn drain_mail_and(&self, heap: &ThreadHeap, sent_on: impl FnMut(HeapIndex)) {
        let fold = |span: SpanIndex, words: u64| {
            let span = span as usize;
            let header = self.header(span);
            let mut rest = words & (u64::MAX >> (64 - header.word_count()));
            while rest != 0 {
                let index = rest.trailing_zeros();
                rest &= rest - 1;
                self.claim(heap, header, index);
            }
            self.settle(heap, span);
        };
        drain(self, heap.index(), fold, sent_on);
    }

    /// Files the remote frees of a word under `freed`.
    fn claim(&self, heap: &ThreadHeap, header: &SpanHeader, index: u32) {
        let word = self.word(header, index);
        signal_safe::full_fence();
        let place = core::ptr::from_ref(word).cast_mut();
        let in_transit = |moving| heap.set_transit(if moving { place } else { null_mut() });
        let Claimed { filed, mut doubles } = word.claim(&header.claims, header.retains(), in_transit);
        header.tally.note_filed(count(filed));
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
            self.claim(heap, header, index);
        }
    }

    /// Brings a span's list into line with the number of its free blocks, and the live figures. It may retire the span.
    pub(crate) fn settle(&self, heap: &ThreadHeap, span: usize) {
        let header = self.header(span);
        let class = usize::from(header.class.load(Ordering::Relaxed));
        let geometry = &CLASSES[class];
        let queue = &heap.queues[class];
        self.count_span(heap, header);
        if header.listing() == Listing::Full {
            header.tally.set_floor(geometry.block_count - geometry.share);
            // Looked at after the floor was set: a signal handler that frees in between tells nobody.
            if header.tally.is_armed() {
                return;
            }
            self.queue_push(queue, span);
        }
        self.arm(geometry, header);
        let alone = queue.first.get() == queue.last.get();
        // The last one in a queue is kept: the class will want it back.
        if header.tally.used() == 0 && header.listing() == Listing::Queued && !alone {
            self.queue_unlink(queue, span);
            heap.span_count.set(heap.span_count.get() - 1);
            self.retire(span);
            // One call may empty many spans, as when it takes mail over: what is to go back does so at the next looks.
            if self.slices.may_be_pressed() {
                heap.pace.hurry();
            }
        }
    }

    /// A listed span's owner is told again when a good part of what is in use was freed, for the figures' sake, or all.
    fn arm(&self, geometry: &Geometry, header: &SpanHeader) {
        let part = (geometry.block_count / 4).max(geometry.share);
        header.tally.set_floor(header.tally.used().saturating_sub(part));
    }

    /// Adds to the live figures what a span has more or less than when this was done last.
    fn count_span(&self, heap: &ThreadHeap, header: &SpanHeader) {
        let blocks = i64::from(header.tally.count());
        self.add_live(heap, blocks * header.block_bytes.load(Ordering::Relaxed) as i64);
    }

    /// A free by the owner was one that the span's tally wants to be told of. In a signal handler that interrupted malloc or a
    /// slow path the lists are not to be touched; the span is then announced as if another thread had freed.
    #[inline(never)]
    pub fn free_edge(&self, heap: &ThreadHeap, block: *mut u8) {
        if heap.is_busy() || self.is_reentered() {
            if let Some(span) = self.own_span(heap, block.addr()) {
                announce(self, span as u32, 0);
            }
            return;
        }
        // Before the span is looked at: a handler may retire it until then.
        heap.set_busy(true);
        // A thread that only frees gets its mail too.
        self.poll(heap);
        if let Some(span) = self.own_span(heap, block.addr()) {
            self.settle(heap, span);
        }
        heap.set_busy(false);
    }

    /// The span of a block that `heap`'s thread has just freed. None if a signal handler has freed the span's last block,
    /// and with it the span, since.
    fn own_span(&self, heap: &ThreadHeap, address: usize) -> Option<usize> {
        let slice = self.offset_of(address)? >> SLICE_SHIFT;
        let header = self.header(slice);
        let span = match header.state() {
            SliceState::Interior => slice - header.slices.load(Ordering::Relaxed) as usize,
            _ => slice,
        };
        let header = self.header(span);
        (header.state() == SliceState::Small && header.is_owned_by(heap)).then_some(span)
    }

    /// Gives a span's slices back. It is in no list, and no block of it is live.
    pub(crate) fn retire(&self, span: usize) {
        let _guard = self.lock();
        let tables = self.tables();
        let header = tables.header(span);
        if !matches!(header.state(), SliceState::Small | SliceState::Large) {
            // This very lock was the first after a fork, and found the span half retired or resized: it is free already.
            return;
        }
        let slices = header.slices.load(Ordering::Relaxed) as usize;
        header.retire();
        self.slices.free(tables, span, slices);
        self.note_spans();
        self.slices.note_pressure();
    }

    pub(crate) fn queue_push(&self, queue: &Queue, span: usize) {
        self.header(span).idle.reset(self.tick_count.load(Ordering::Relaxed));
        self.queue_append(queue, span);
    }

    /// The same for a span that was in the queue before.
    pub(crate) fn queue_append(&self, queue: &Queue, span: usize) {
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

    /// A span of the queue becomes its first, and those before it, in their order, its last.
    pub(crate) fn queue_rotate(&self, queue: &Queue, span: usize) {
        let header = self.header(span);
        debug_assert_eq!(header.listing(), Listing::Queued);
        let previous = header.previous.load(Ordering::Relaxed);
        let (Some(before), Some(last), Some(first)) =
            (previous.checked_sub(1), queue.last.get().checked_sub(1), queue.first.get().checked_sub(1))
        else {
            return;
        };
        self.header(last as usize).next.store(first + 1, Ordering::Relaxed);
        self.header(first as usize).previous.store(last + 1, Ordering::Relaxed);
        self.header(before as usize).next.store(0, Ordering::Relaxed);
        header.previous.store(0, Ordering::Relaxed);
        queue.first.set(span as u32 + 1);
        queue.last.set(previous);
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

/// Whether a bin's span is worth another visit, when no other one of the class is listed: if it has enough free blocks or an
/// unused word, or once before a new span is made if it has any.
fn worth_a_visit(heap: &ThreadHeap, class: usize, geometry: &Geometry, header: &SpanHeader) -> bool {
    let free = geometry.block_count.wrapping_sub(header.tally.used());
    if free >= geometry.share || header.tally.touched() < geometry.block_count {
        return true;
    }
    free > 0 && heap.cursors[class].take_last_look()
}

/// Whether a visit would find enough free blocks among those that were in use before.
fn has_enough_free(geometry: &Geometry, header: &SpanHeader) -> bool {
    header.tally.touched().wrapping_sub(header.tally.used()) >= geometry.share
}

/// So many blocks that were never used a visit takes. In a class's first span at first those of a page, then as many as are in use, up
/// to a word: a program that has few of a size touches few pages. Once that span was not enough, a word's.
fn fresh_blocks(geometry: &Geometry, touched: u32, needs_many: bool) -> u32 {
    let most = geometry.page_blocks.max(BLOCKS_PER_WORD as u32);
    if needs_many { most } else { touched.clamp(geometry.page_blocks, most) }
}

/// The lowest `count` set bits; there are more.
fn lowest_bits(bits: u64, count: u32) -> u64 {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest - 1;
    }
    bits & !rest
}
