//! A large heap opens huge pages, once each, and gives their memory back as any other.
#![cfg(not(hk_loom))]

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
    let small = fill(&heap, thread, 6 * MIB, 1024);
    assert_eq!(heap.os().populated_bytes(), 0, "a heap of 6 MiB is not large");
    let more = fill(&heap, thread, 24 * MIB, 1024);
    heap.verify();
    let populated = heap.os().populated_bytes();
    assert!((18 * MIB..=26 * MIB).contains(&populated), "{populated} of the 30 MiB lie above the first 8");
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
    while heap.os().populated_bytes() == 0 {
        blocks.extend(fill(&heap, thread, MIB, 1024));
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
