//! The heap's part of the account: what resident pages of spans and of guarded blocks are used for.

use super::present::Present;
use hk_format::{AreaKind, SpanRecord, SpanWord};
use hk_graph::Snapshot;
use std::collections::BTreeMap;

/// Blocks above this have spans of their own, whose end nobody touches that has not asked for it.
const CLASS_BYTES_MAX: u64 = 32 << 10;
/// A span is sparse if less than one in so many of its bytes is live.
const SPARSE: u64 = 4;
/// By fewer blocks nothing is estimated.
const KNOWN_MIN: u64 = 20;
const WORD_BLOCKS: u32 = u64::BITS;

/// Resident bytes by use, and what there is to say about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapUse {
    /// Live blocks, guarded ones too, as the heap rounded them.
    pub live: u64,
    /// What of it is blocks that may have been rounded up: those of sizes that have classes, and not guarded.
    pub live_rounded: u64,
    /// What of it rounding up took: an estimate by blocks whose request is known; None if there are too few.
    pub rounding: Option<u64>,
    /// Blocks that the estimate is made by.
    pub known_requests: u64,
    /// Freed blocks that are retained.
    pub retained: u64,
    /// Free blocks that threads have at hand.
    pub available: u64,
    /// Free otherwise, in spans that are in use.
    pub free: u64,
    /// Free spans.
    pub free_spans: u64,
    /// What guarded blocks leave of their pages, and what is known of them.
    pub guards: u64,
    /// Live guarded blocks.
    pub guarded_blocks: u64,
    /// Tables and other memory of the library that has no file.
    pub own: u64,
    /// Spans in use.
    pub spans: u64,
    /// Those with live blocks that are sparse.
    pub sparse_spans: u64,
}

impl HeapUse {
    /// Whether what rounding took is an estimate.
    pub fn is_estimated(&self) -> bool {
        self.live_rounded > 0 && self.rounding.is_some()
    }

    /// By a snapshot and the pages that were resident right after.
    pub fn new(snapshot: &Snapshot, present: &Present) -> HeapUse {
        let mut heap = HeapUse::default();
        let mut in_spans = 0;
        let mut live_by_size: BTreeMap<u64, u64> = BTreeMap::new();
        for (span, words) in snapshot.spans.all() {
            let resident = present.bytes(span.start, span.start + span.bytes);
            in_spans += resident;
            let live = heap.span(span, words, resident, present);
            if span.block_bytes <= CLASS_BYTES_MAX {
                heap.live_rounded += live;
                *live_by_size.entry(span.block_bytes).or_default() += live;
            }
        }
        let area_bytes = |kind: AreaKind| -> u64 {
            let areas = snapshot.areas.iter().filter(|area| area.kind == kind as u32);
            areas.map(|area| present.bytes(area.start, area.start + area.bytes)).sum()
        };
        heap.free_spans = area_bytes(AreaKind::Blocks).saturating_sub(in_spans);
        heap.own = area_bytes(AreaKind::Tables) + area_bytes(AreaKind::Own);
        heap.guards = area_bytes(AreaKind::Guards);
        heap.guarded(snapshot, present);
        heap.estimate(snapshot, &live_by_size);
        heap
    }

    /// Counts a span's blocks; gives what of it is live.
    fn span(&mut self, span: &SpanRecord, words: &[SpanWord], resident: u64, present: &Present) -> u64 {
        let sum = |set: fn(&SpanWord) -> u64| -> u64 {
            let words = (0..).zip(words).map(|(nth, word)| {
                let start = span.start + nth * u64::from(WORD_BLOCKS) * span.block_bytes;
                set_bytes(set(word), start, span.block_bytes, resident == span.bytes, present)
            });
            words.sum()
        };
        let (live, retained) = (sum(|word| word.live), sum(|word| word.retained));
        let available = sum(|word| word.available);
        self.live += live;
        self.retained += retained;
        self.available += available;
        self.free += resident - live - retained - available;
        self.spans += 1;
        let live_blocks: u64 = words.iter().map(|word| u64::from(word.live.count_ones())).sum();
        let is_sparse = live_blocks > 0 && live_blocks * span.block_bytes * SPARSE < span.bytes;
        self.sparse_spans += u64::from(is_sparse && span.block_count > 1);
        live
    }

    /// Live guarded blocks count as live, by the byte.
    fn guarded(&mut self, snapshot: &Snapshot, present: &Present) {
        let areas: Vec<_> =
            snapshot.areas.iter().filter(|area| area.kind == AreaKind::Guards as u32).collect();
        for number in 0..snapshot.graph.len() as u32 {
            let block = snapshot.graph.block(number);
            if areas.iter().any(|area| block.start >= area.start && block.start - area.start < area.bytes) {
                let resident = present.bytes(block.start, block.start + block.bytes);
                self.live += resident;
                self.guards = self.guards.saturating_sub(resident);
                self.guarded_blocks += 1;
            }
        }
    }

    /// What rounding takes: of each size as much as of the sampled blocks that would have it, or of all sampled ones where there is none.
    fn estimate(&mut self, snapshot: &Snapshot, live_by_size: &BTreeMap<u64, u64>) {
        let mut known: BTreeMap<u64, Requests> = BTreeMap::new();
        let mut all = Requests::default();
        let lives = snapshot.lives.all().iter();
        for life in lives.filter(|life| (1..=CLASS_BYTES_MAX).contains(&life.rounded_bytes)) {
            known.entry(life.rounded_bytes).or_default().add(life.requested_bytes, life.rounded_bytes);
            all.add(life.requested_bytes, life.rounded_bytes);
        }
        self.known_requests = all.blocks;
        if self.live_rounded == 0 {
            self.rounding = Some(0);
        }
        if self.live_rounded == 0 || all.blocks < KNOWN_MIN {
            return;
        }
        let of_size = |(size, &live): (&u64, &u64)| known.get(size).unwrap_or(&all).rounding_of(live);
        self.rounding = Some(live_by_size.iter().map(of_size).sum());
    }
}

/// What was asked for by some blocks, and what it was rounded to.
#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    blocks: u64,
    requested: u64,
    rounded: u64,
}

impl Requests {
    fn add(&mut self, requested: u64, rounded: u64) {
        self.blocks += 1;
        self.requested = self.requested.saturating_add(requested.min(rounded));
        self.rounded = self.rounded.saturating_add(rounded);
    }

    fn rounding_of(&self, live: u64) -> u64 {
        let share = (self.rounded - self.requested) as f64 / self.rounded as f64;
        ((live as f64 * share) as u64).min(live)
    }
}

/// The resident bytes of those of 64 blocks whose bits are set.
fn set_bytes(mut set: u64, start: u64, block_bytes: u64, is_resident: bool, present: &Present) -> u64 {
    if is_resident {
        return u64::from(set.count_ones()) * block_bytes;
    }
    let mut bytes = 0;
    while set != 0 {
        let block = start + u64::from(set.trailing_zeros()) * block_bytes;
        bytes += present.bytes(block, block + block_bytes);
        set &= set - 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x10_0000;

    #[test]
    fn blocks_count_as_far_as_their_pages_are_there() {
        let present = Present::of_pages(&[BASE >> 12, (BASE >> 12) + 2]);
        let span = SpanRecord { start: BASE, bytes: 65536, block_bytes: 3072, block_count: 21, words: 1 };
        // Block 0 ends in page 0, block 1 in page 1, block 2 in page 2, block 3 begins there.
        let word = SpanWord { live: 0b0001, retained: 0b0010, available: 0b0100 };
        let mut heap = HeapUse::default();
        let live = heap.span(&span, &[word], 8192, &present);
        assert_eq!((live, heap.live, heap.retained), (3072, 3072, 1024));
        assert_eq!((heap.available, heap.free), (1024, 8192 - 3072 - 1024 - 1024));
        assert_eq!((heap.spans, heap.sparse_spans), (1, 1));
    }

    #[test]
    fn rounding_is_that_of_the_same_sizes() {
        let mut requests = Requests::default();
        requests.add(33, 48);
        requests.add(39, 48);
        assert_eq!(requests.rounding_of(9600), 2400);
        requests.add(100, 48);
        assert!(requests.rounding_of(u64::MAX) < u64::MAX);
    }
}
