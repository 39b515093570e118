//! Pages of free blocks go back although their spans are in use, and no byte of a live block with them.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "writes and reads the blocks")]

use hk_heap::{Heap, HugePages, Options, ThreadHeap};
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
    // Each huge page with holes once; the heap fetches no more of them than its peak and what is left of the last one.
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
    // What is left of one would go back.
    heap.set_huge_pages(HugePages::None);
    let thread = heap.attach().unwrap();
    // One block of each span stays; the others come and go, and are gone for less than a tick.
    let size = 1024;
    let new =
        |count| -> Vec<Block> { (0..count).map(|nth| Block::new(&heap, thread, size, nth as u8)).collect() };
    let (kept, mut others): (Vec<_>, Vec<_>) =
        new(6 * MIB / size).into_iter().enumerate().partition(|(nth, _)| nth % 50 == 0);
    let before = heap.os().purged_bytes();
    for _ in 0..10 {
        let count = others.len();
        for (_, block) in others.drain(..) {
            heap.free(thread, block.place).expect("a live block");
        }
        go_on(&heap, thread, 90);
        others.extend(new(count).into_iter().enumerate());
        go_on(&heap, thread, 90);
    }
    let back = heap.os().purged_bytes() - before;
    assert!(back <= 6 * MIB / 64, "what is used within a tick or two stays: {back}");
    heap.verify();
    assert!(kept.iter().chain(&others).all(|(_, block)| block.is_intact()));
}

/// So many spans of one size, of each of which one block lives on, and how much of them goes back in a while.
fn goes_back_of_spans(count: usize) -> u64 {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let kept = survivors_of(&heap, thread, &[(4096, count << 16)], 16);
    let before = heap.os().purged_bytes();
    go_on(&heap, thread, 1000);
    assert!(kept.iter().all(Block::is_intact));
    heap.verify();
    (heap.os().purged_bytes() - before) as u64
}

#[test]
fn a_small_heap_is_left_alone() {
    assert_eq!(goes_back_of_spans(8), 0);
    assert!(goes_back_of_spans(40) > 0);
}

/// `count` queued spans of a size of which 128 blocks fill a span, with three of eight blocks free and no page; and behind them in the
/// queue as many of which one block in 200 lives on.
fn idle_spans_behind_others(heap: &Heap<Fake>, thread: &ThreadHeap, count: usize) -> Vec<Block> {
    let blocks = (0..count * 256).map(|nth| Block::new(heap, thread, 512, nth as u8)).enumerate();
    let lives = |nth: usize| if nth < count * 128 { nth % 8 < 5 } else { nth.is_multiple_of(200) };
    let (kept, freed): (Vec<_>, Vec<_>) = blocks.partition(|(nth, _)| lives(*nth));
    for (_, block) in freed {
        heap.free(thread, block.place).expect("a live block");
    }
    kept.into_iter().map(|(_, block)| block).collect()
}

#[test]
fn spans_that_give_nothing_keep_none_behind_them_from_their_turn() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let count = if cfg!(miri) { 20 } else { 400 };
    let kept = idle_spans_behind_others(&heap, thread, count);
    go_on(&heap, thread, 2000);
    let (back, peak) = (heap.os().purged_bytes(), count << 16);
    assert!(back >= peak * 3 / 4, "{back} of {peak}");
    heap.verify();
    assert!(kept.iter().all(Block::is_intact));
}

#[test]
fn spans_of_an_ended_thread_have_their_turn_too() {
    let heap = heap();
    let (thread, ended) = (heap.attach().unwrap(), heap.attach().unwrap());
    let count = if cfg!(miri) { 10 } else { 100 };
    let mut kept = idle_spans_behind_others(&heap, ended, count);
    kept.extend(survivors_of(&heap, ended, &[(4096, MIB)], 200));
    heap.detach(ended);
    go_on(&heap, thread, 8000);
    let (back, peak) = (heap.os().purged_bytes(), (count << 16) + MIB);
    assert!(back >= peak * 3 / 4, "{back} of {peak}");
    heap.verify();
    assert!(kept.iter().all(Block::is_intact));
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
