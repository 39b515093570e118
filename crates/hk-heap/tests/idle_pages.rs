//! Pages of free blocks go back although their spans are in use, and no byte of a live block with them.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "writes and reads the blocks")]

use hk_heap::{Heap, Options, ThreadHeap};
use hk_os::Fake;

const MIB: usize = 1 << 20;
const PAGE: usize = 4 << 10;
/// What one call may give back.
const CALL_MAX: usize = 4 * MIB;
/// The pages of the span that it ends with.
const LAST_RUN_MAX: usize = 256 << 10;
const SIZES: [usize; 6] = [16, 48, 600, 1024, 5000, 20_000];

fn heap() -> Heap<Fake> {
    let heap = Heap::new(Fake::new(512 * MIB));
    heap.start(&Options { reserve_bytes_max: 256 * MIB, ..Options::default() }).unwrap();
    heap
}

struct Block {
    place: *mut u8,
    bytes: usize,
    tag: u8,
}

impl Block {
    fn new(heap: &Heap<Fake>, thread: &ThreadHeap, bytes: usize, tag: u8) -> Self {
        let place = heap.allocate(thread, bytes);
        assert!(!place.is_null());
        // SAFETY: a new block of that size.
        unsafe { place.write_bytes(tag, bytes) };
        Block { place, bytes, tag }
    }

    fn is_intact(&self) -> bool {
        // SAFETY: a live block of that size.
        unsafe { core::slice::from_raw_parts(self.place, self.bytes) }.iter().all(|&byte| byte == self.tag)
    }
}

/// A peak of `bytes` of each size, of which one block in `keep` survives.
fn survivors(heap: &Heap<Fake>, thread: &ThreadHeap, bytes: usize, keep: usize) -> Vec<Block> {
    survivors_of(heap, thread, &SIZES.map(|size| (size, bytes)), keep)
}

/// A peak of so many bytes of each size.
fn survivors_of(heap: &Heap<Fake>, thread: &ThreadHeap, sizes: &[(usize, usize)], keep: usize) -> Vec<Block> {
    let mut kept = Vec::new();
    let mut blocks = Vec::new();
    for &(size, bytes) in sizes {
        blocks.extend((0..bytes / size).map(|nth| Block::new(heap, thread, size, (nth * 7 + size) as u8)));
    }
    for (nth, block) in blocks.into_iter().enumerate() {
        // Scattered, but the same in each run.
        if ((nth * 2_654_435_761) >> 16).is_multiple_of(keep) {
            kept.push(block);
        } else {
            heap.free(thread, block.place).expect("a live block");
        }
    }
    kept
}

/// So many calls of malloc and free in so many milliseconds, none of which gives back more than its bound.
fn go_on(heap: &Heap<Fake>, thread: &ThreadHeap, ms: u64) {
    for _ in 0..ms {
        heap.os().advance_ms(1);
        let mut before = heap.os().purged_bytes();
        for _ in 0..40 {
            let blocks: Vec<*mut u8> = (0..64).map(|_| heap.allocate(thread, 100)).collect();
            for block in blocks {
                heap.free(thread, block).expect("a live block");
                let now = heap.os().purged_bytes();
                assert!(now - before <= CALL_MAX + LAST_RUN_MAX, "{} bytes in one call", now - before);
                before = now;
            }
            before = heap.os().purged_bytes();
        }
    }
}

#[test]
fn a_peak_with_scattered_survivors_goes_back_but_for_their_pages() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let bytes = if cfg!(miri) { MIB } else { 8 * MIB };
    let kept = survivors(&heap, thread, bytes, 1000);
    go_on(&heap, thread, 1500);
    let peak = SIZES.len() * bytes;
    let back = heap.os().purged_bytes();
    let pinned: usize = kept.iter().map(|block| (block.bytes / PAGE + 2) * PAGE).sum();
    assert!(back + pinned + MIB >= peak, "{back} of {peak} bytes went back, {pinned} are pinned");
    heap.verify();
    assert!(kept.iter().all(Block::is_intact));
    go_on(&heap, thread, 500);
    assert!(heap.os().purged_bytes() - back < MIB, "nothing is given back twice");
    // Each huge page with holes once, and those that are wholly free not.
    let split = heap.os().split_bytes();
    assert!(split > 0 && split <= peak + 4 * MIB, "{split} of {peak}");
    // What went back serves again.
    let more = survivors(&heap, thread, bytes, 10);
    heap.verify();
    assert!(more.iter().chain(&kept).all(Block::is_intact));
    for block in more.into_iter().chain(kept) {
        heap.free(thread, block.place).expect("a live block");
    }
    heap.verify();
}

#[test]
fn a_size_with_very_many_spans_keeps_no_other_from_its_turn() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let many = if cfg!(miri) { 2 * MIB } else { 80 * MIB };
    // Half of the blocks of the one size live on, so that all its spans stay and none has a free page.
    let blocks: Vec<Block> = (0..many / 512).map(|nth| Block::new(&heap, thread, 512, nth as u8)).collect();
    let (kept, freed): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(nth, _)| nth % 2 == 0);
    for (_, block) in freed {
        heap.free(thread, block.place).expect("a live block");
    }
    let others = survivors_of(&heap, thread, &[(4000, 6 * MIB), (600, 6 * MIB)], 1000);
    go_on(&heap, thread, 1500);
    let back = heap.os().purged_bytes();
    assert!(back >= 10 * MIB, "{back} of 12 MiB");
    assert!(kept.iter().map(|(_, block)| block).chain(&others).all(Block::is_intact));
    heap.verify();
}

#[test]
fn heaps_whose_threads_ended_give_pages_back_too() {
    let heap = heap();
    let (thread, ended) = (heap.attach().unwrap(), heap.attach().unwrap());
    let kept = survivors(&heap, ended, MIB, 1000);
    heap.detach(ended);
    go_on(&heap, thread, 1500);
    let back = heap.os().purged_bytes();
    assert!(back >= 4 * MIB, "{back} of {} bytes", SIZES.len() * MIB);
    heap.verify();
    assert!(kept.iter().all(Block::is_intact));
    for block in kept {
        heap.free(thread, block.place).expect("a live block");
    }
    heap.verify();
}

#[test]
fn trim_does_it_at_once() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let kept = survivors(&heap, thread, MIB, 500);
    let before = heap.os().purged_bytes();
    assert!(heap.trim_spans(thread));
    let back = heap.os().purged_bytes() - before;
    assert!(back >= 2 * MIB, "{back}");
    assert!(!heap.trim_spans(thread), "all of it is gone");
    heap.verify();
    assert!(kept.iter().all(Block::is_intact));
}

#[test]
fn spans_in_use_keep_their_pages() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    // Of each span half comes and goes in every tick.
    let size = 256;
    let mut blocks: Vec<Block> =
        (0..8 * MIB / size).map(|nth| Block::new(&heap, thread, size, nth as u8)).collect();
    let before = heap.os().purged_bytes();
    for _ in 0..10 {
        let again = blocks.split_off(blocks.len() / 2);
        for block in &again {
            heap.free(thread, block.place).expect("a live block");
        }
        heap.os().advance_ms(50);
        let count = again.len();
        blocks.extend((0..count).map(|nth| Block::new(&heap, thread, size, nth as u8)));
        heap.os().advance_ms(50);
        blocks.rotate_left(count / 3);
    }
    let back = heap.os().purged_bytes() - before;
    assert!(back <= 8 * MIB / 64, "what is used within a tick or two stays: {back}");
    heap.verify();
    assert!(blocks.iter().all(Block::is_intact));
}

#[test]
fn a_small_heap_is_left_alone() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let kept = survivors(&heap, thread, 16 << 10, 100);
    let before = heap.os().purged_bytes();
    go_on(&heap, thread, 1000);
    assert_eq!(heap.os().purged_bytes(), before);
    assert!(kept.iter().all(Block::is_intact));
    heap.verify();
}

#[test]
fn locked_memory_is_kept() {
    let heap = Heap::new(Fake::locked(512 * MIB));
    heap.start(&Options { reserve_bytes_max: 256 * MIB, ..Options::default() }).unwrap();
    let thread = heap.attach().unwrap();
    let kept = survivors(&heap, thread, MIB, 100);
    assert!(!heap.trim_spans(thread), "nothing can go back");
    go_on(&heap, thread, 600);
    assert_eq!(heap.os().split_bytes(), 0);
    assert!(kept.iter().all(Block::is_intact));
    heap.verify();
}
