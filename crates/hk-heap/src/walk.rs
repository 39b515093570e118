//! Walking the heap: exact counts, and the check of everything against everything.

use crate::heap::Heap;
use crate::mailbox::HeapState;
use crate::size_class::{CLASS_COUNT, CLASSES, SLICE_BYTES};
use crate::span::{Listing, SliceState, SpanHeader};
use crate::thread_heap::ThreadHeap;
use core::sync::atomic::Ordering;
use hk_os::Os;

const BPW: u32 = crate::word::BLOCKS_PER_WORD as u32;

/// What a walk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Live blocks.
    pub live_blocks: u64,
    /// Their bytes, as the allocator rounded them.
    pub live_bytes: u64,
    /// Blocks that the program freed and keep mode retains.
    pub kept_blocks: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// Spans.
    pub spans: u64,
    /// Their bytes.
    pub span_bytes: u64,
    /// Bytes of slices that are free and still hold memory.
    pub dirty_bytes: u64,
    /// Bytes of address space made accessible for slices.
    pub committed_bytes: u64,
    /// Bytes of the heap's own tables made accessible.
    pub table_bytes: u64,
}

impl<O: Os> Heap<O> {
    /// Counts block by block. Exact if no thread allocates or frees meanwhile.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        if !self.is_started() {
            return count;
        }
        let tables = self.tables();
        let mut slice = 0;
        while slice < self.slices.top() {
            let header = tables.header(slice);
            slice += match header.state() {
                SliceState::Small | SliceState::Large => {
                    count_span(header, &mut count);
                    header.slices.load(Ordering::Relaxed).max(1) as usize
                }
                _ => 1,
            };
        }
        let _guard = self.lock();
        count.dirty_bytes = (self.slices.dirty_count() * SLICE_BYTES) as u64;
        count.committed_bytes = tables.slices.committed() as u64;
        let table_regions = [&tables.headers, &tables.words, &tables.groups, &tables.heaps];
        count.table_bytes = table_regions.iter().map(|region| region.committed() as u64).sum();
        count
    }

    /// Counts, and writes the result into the figures.
    pub fn settle_figures(&self) -> Count {
        let count = self.count();
        let figures = self.figures();
        figures.live_bytes.store(count.live_bytes, Ordering::Relaxed);
        figures.live_blocks.store(count.live_blocks, Ordering::Relaxed);
        figures.live_peak_bytes.fetch_max(count.live_bytes, Ordering::Relaxed);
        count
    }

    /// Checks the whole heap: every slice, span, word, list and counter. Only while no thread uses the heap.
    ///
    /// # Panics
    /// If anything contradicts anything else; the message says what.
    pub fn verify(&self) {
        if !self.is_started() {
            return;
        }
        let tables = self.tables();
        let mut slice = 0;
        let mut interior_left = 0;
        let _guard = self.lock();
        self.slices.verify(tables, |index, free| {
            assert_eq!(index, slice);
            slice += 1;
            let header = tables.header(index);
            let state = header.state();
            if interior_left > 0 {
                assert_eq!(state, SliceState::Interior, "slice {index} inside a span");
                assert!(!free, "slice {index} of a span is free");
                interior_left -= 1;
                return;
            }
            match state {
                SliceState::Small | SliceState::Large => {
                    assert!(!free, "span {index} in a free slice");
                    self.verify_span(index, header);
                    interior_left = header.slices.load(Ordering::Relaxed) - 1;
                }
                SliceState::Interior | SliceState::Retired | SliceState::Fresh => {
                    assert!(free, "slice {index} is {state:?} but not free");
                    assert_eq!(header.owner(), None, "free slice {index} has an owner");
                }
            }
        });
        for index in 0..self.heap_count() {
            self.verify_lists(tables.heap(index as usize));
        }
    }

    fn verify_span(&self, span: usize, header: &SpanHeader) {
        assert!(header.shape().is_some(), "span {span} is being changed");
        let block_bytes = header.block_bytes.load(Ordering::Relaxed);
        let block_count = header.block_count.load(Ordering::Relaxed) as usize;
        let span_bytes = header.slices.load(Ordering::Relaxed) as usize * SLICE_BYTES;
        assert!(block_bytes * block_count <= span_bytes, "span {span}: blocks beyond its end");
        if header.state() == SliceState::Large {
            assert_eq!(header.owner(), None, "large span {span} has an owner");
            return;
        }
        let geometry = &CLASSES[usize::from(header.class.load(Ordering::Relaxed))];
        assert_eq!(geometry.block_bytes as usize, block_bytes, "span {span}: class and block size differ");
        let absent = header.absent.load(Ordering::Relaxed);
        let mut used = 0;
        for index in 0..header.word_count() {
            let word = self.word(header, index);
            assert_eq!(word.overlap(), 0, "span {span} word {index}: a block in two sets");
            let absent = if index + 1 == header.word_count() { absent } else { 0 };
            assert_eq!(
                word.freed() & absent,
                absent,
                "span {span} word {index}: an absent block is not freed"
            );
            let used_here = !word.freed();
            let touched = header.tally.touched_of_word(index);
            assert_eq!(used_here & !touched, 0, "span {span} word {index}: used and never exposed");
            used += used_here.count_ones();
        }
        assert_eq!(used, header.tally.used(), "span {span}: blocks in use");
        let owner = self.owner_index(header).expect("a span of a class has an owner");
        assert!(owner < self.heap_count(), "span {span}: no heap {owner}");
        if header.listing() == Listing::Full {
            assert!(
                block_count as u32 - used < geometry.share,
                "span {span} has free blocks and is in no list"
            );
            assert!(header.tally.is_armed(), "span {span} would not be listed when blocks are freed");
        }
    }

    fn verify_lists(&self, heap: &ThreadHeap) {
        if heap.shared.mailbox.state(self.generation()) == HeapState::Stale {
            return;
        }
        for class in 0..CLASS_COUNT {
            if let Some(span) = heap.bins[class].span() {
                assert_eq!(self.tables().header(span).listing(), Listing::Current, "bin {class}");
            }
            let queue = &heap.queues[class];
            let (mut at, mut previous) = (queue.first.get(), 0);
            while let Some(span) = at.checked_sub(1) {
                let header = self.tables().header(span as usize);
                assert_eq!(header.listing(), Listing::Queued, "span {span} in queue {class}");
                assert!(header.is_owned_by(heap), "span {span} in another's queue");
                assert_eq!(header.previous.load(Ordering::Relaxed), previous, "span {span}: back link");
                previous = at;
                at = header.next.load(Ordering::Relaxed);
            }
            assert_eq!(queue.last.get(), previous, "queue {class}: its end");
        }
        let mut spans = 0;
        self.each_span_of(heap, |_| spans += 1);
        assert_eq!(spans, heap.span_count.get(), "heap {}: spans", heap.index());
    }
}

fn count_span(header: &SpanHeader, count: &mut Count) {
    let Some(shape) = header.shape() else { return };
    let words = (shape.block_count as u32).div_ceil(BPW);
    for index in 0..words {
        // SAFETY: index is below the word count of the shape, whose state is small or large.
        let word = unsafe { shape.word_of((index * BPW) as usize) };
        let live = u64::from(word.live().count_ones());
        let kept = u64::from(word.retained().count_ones());
        count.live_blocks += live;
        count.live_bytes += live * shape.block_bytes as u64;
        count.kept_blocks += kept;
        count.kept_bytes += kept * shape.block_bytes as u64;
    }
    count.spans += 1;
    count.span_bytes += u64::from(shape.slices) * SLICE_BYTES as u64;
}
