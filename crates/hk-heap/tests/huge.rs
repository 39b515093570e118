//! A large heap opens huge pages, once each, and gives their memory back as any other.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "writes and reads the blocks")]

use hk_heap::{Heap, HugePages, Options, ThreadHeap};
use hk_os::Fake;

const MIB: usize = 1 << 20;
const HUGE_BYTES: usize = 2 * MIB;

fn heap() -> Heap<Fake> {
    let heap = Heap::new(Fake::new(512 * MIB));
    heap.start(&Options { reserve_bytes_max: 256 * MIB, ..Options::default() }).unwrap();
    heap
}

fn fill(heap: &Heap<Fake>, thread: &ThreadHeap, bytes: usize, block_bytes: usize) -> Vec<*mut u8> {
    (0..bytes / block_bytes)
        .map(|_| heap.allocate(thread, block_bytes))
        .inspect(|block| assert!(!block.is_null()))
        .collect()
}

fn empty(heap: &Heap<Fake>, thread: &ThreadHeap, blocks: Vec<*mut u8>) {
    for block in blocks {
        heap.free(thread, block).expect("a live block");
    }
}

#[test]
fn small_blocks_open_huge_pages_once_the_heap_is_large() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let small = fill(&heap, thread, 3 * MIB, 1024);
    assert_eq!(heap.os().populated_bytes(), 0, "a heap of 3 MiB is not large");
    let more = fill(&heap, thread, 24 * MIB, 1024);
    heap.verify();
    let populated = heap.os().populated_bytes();
    assert!((19 * MIB..=27 * MIB).contains(&populated), "{populated} of the 27 MiB lie above the first 4");
    empty(&heap, thread, more);
    let again = fill(&heap, thread, 20 * MIB, 1024);
    assert_eq!(heap.os().populated_bytes(), populated, "the memory is still there");
    empty(&heap, thread, again);
    heap.trim();
    heap.verify();
    let back = fill(&heap, thread, 40 * MIB, 1024);
    let now = heap.os().populated_bytes();
    assert!(now >= populated + 24 * MIB, "what was given back is fetched anew: {now}");
    heap.verify();
    empty(&heap, thread, back);
    empty(&heap, thread, small);
}

#[test]
fn large_blocks_open_none() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let blocks = fill(&heap, thread, 128 * MIB, HUGE_BYTES + 100);
    assert_eq!(heap.os().populated_bytes(), 0);
    empty(&heap, thread, blocks);
    heap.verify();
}

#[test]
fn what_a_huge_page_has_left_goes_back() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let mut blocks = fill(&heap, thread, 40 * MIB, 1024);
    let before = heap.os().populated_bytes();
    while heap.os().populated_bytes() == before {
        blocks.extend(fill(&heap, thread, MIB / 16, 1024));
    }
    assert!(heap.trim(), "the last huge page is not used up");
    assert!(!heap.trim());
    heap.verify();
    empty(&heap, thread, blocks);
    assert!(heap.trim(), "the blocks' spans");
    heap.verify();
    assert_eq!(heap.count().dirty_bytes, 0);
}

#[test]
fn spans_of_many_slices_lie_across_the_edges_of_huge_pages() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    // Of the spans of these sizes no whole number fills a huge page.
    let mut blocks = Vec::new();
    for round in 0..24 {
        for bytes in [1024, 12 << 10, 20 << 10, 28 << 10] {
            blocks.extend(fill(&heap, thread, MIB, bytes));
        }
        if round % 6 == 5 {
            let kept = blocks.split_off(blocks.len() / 3);
            empty(&heap, thread, blocks);
            blocks = kept;
            heap.os().advance_ms(300);
        }
        heap.verify();
    }
    assert!(heap.os().populated_bytes() > 0);
    empty(&heap, thread, blocks);
    heap.trim();
    heap.verify();
}

#[test]
fn a_heap_that_shall_have_none_opens_none() {
    let heap = heap();
    heap.set_huge_pages(HugePages::None);
    let thread = heap.attach().unwrap();
    let blocks = fill(&heap, thread, 64 * MIB, 1024);
    assert_eq!((heap.os().populated_bytes(), heap.os().preferred_bytes()), (0, 0));
    empty(&heap, thread, blocks);
}

#[test]
fn a_heap_of_huge_pages_asks_for_all_that_it_may_touch() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let mut blocks = fill(&heap, thread, MIB, 1024);
    assert_eq!(heap.os().preferred_bytes(), 0);
    heap.set_huge_pages(HugePages::All);
    let before = heap.os().preferred_bytes();
    assert!(before >= MIB, "what is accessible already");
    blocks.extend(fill(&heap, thread, 32 * MIB, 1024));
    blocks.extend(fill(&heap, thread, 32 * MIB, MIB));
    let asked = heap.os().preferred_bytes();
    assert!((64 * MIB..96 * MIB).contains(&asked), "{asked}");
    assert_eq!(heap.os().populated_bytes(), 0, "pages come when they are touched");
    heap.set_huge_pages(HugePages::None);
    blocks.extend(fill(&heap, thread, 96 * MIB, MIB));
    assert_eq!(heap.os().preferred_bytes(), asked, "no more of them from now on");
    empty(&heap, thread, blocks);
    heap.verify();
}

#[test]
fn a_span_that_begins_in_another_huge_page_opens_its_own() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    // A span of these has five slices, and a huge page 32.
    let size = 20 << 10;
    let blocks = fill(&heap, thread, 64 * MIB, size);
    empty(&heap, thread, blocks);
    heap.trim();
    let before = heap.os().populated_bytes();
    let blocks = fill(&heap, thread, 40 * MIB, size);
    let fetched = heap.os().populated_bytes() - before;
    // Some spans stay with their class.
    assert!((28 * MIB..=44 * MIB).contains(&fetched), "{fetched} of 40 MiB");
    empty(&heap, thread, blocks);
    heap.verify();
}

#[test]
fn huge_pages_that_go_back_whole_are_not_split() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let blocks = fill(&heap, thread, 64 * MIB, 1024);
    let fetched = heap.os().populated_bytes();
    let before = heap.os().purged_bytes();
    empty(&heap, thread, blocks);
    for _ in 0..400 {
        heap.os().advance_ms(20);
        let blocks = fill(&heap, thread, 64 << 10, 100);
        empty(&heap, thread, blocks);
    }
    let back = heap.os().purged_bytes() - before;
    assert!(back > 56 * MIB, "{back} of 64 MiB");
    let split = heap.os().split_bytes();
    assert!(split <= 2 * HUGE_BYTES, "{split} of {fetched}: no more than where something is left");
    heap.verify();
}

#[test]
fn what_realloc_copies_is_fetched_first_and_no_more() {
    let heap = heap();
    let thread = heap.attach().unwrap();
    let small = fill(&heap, thread, 9 * MIB, 8192);
    let before = heap.os().populated_bytes();
    let block = heap.allocate(thread, 5 * MIB);
    assert_eq!(heap.os().populated_bytes(), before, "nobody knows how much of a new block is touched");
    // SAFETY: a new block of that size.
    unsafe { block.write_bytes(7, 5 * MIB) };
    let behind = heap.allocate(thread, 3 * MIB);
    // SAFETY: a live block of ours.
    let moved = unsafe { heap.reallocate(thread, block, 60 * MIB) }.expect("a live block");
    assert_ne!(moved, block);
    let fetched = heap.os().populated_bytes() - before;
    assert!((4 * MIB..=5 * MIB + 2 * HUGE_BYTES).contains(&fetched), "{fetched} for 5 of 60 MiB");
    for _ in 0..4 {
        // What comes next begins with a huge page.
        assert!(!heap.allocate_aligned(thread, HUGE_BYTES, HUGE_BYTES).is_null());
        let tiny = heap.allocate(thread, 16);
        // SAFETY: a live block of ours.
        let grown = unsafe { heap.reallocate(thread, tiny, 9 * MIB) }.expect("a live block");
        assert!(!grown.is_null());
    }
    assert_eq!(heap.os().populated_bytes(), before + fetched, "hardly anything of these is copied");
    // SAFETY: what was written, and is now there.
    assert!(unsafe { core::slice::from_raw_parts(moved, 5 * MIB) }.iter().all(|&byte| byte == 7));
    heap.verify();
    empty(&heap, thread, [moved, behind].into_iter().chain(small).collect());
    heap.trim();
    heap.verify();
}
