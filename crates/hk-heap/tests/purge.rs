//! Memory goes back to the system by and by: no call gives back more than a bounded number of pages.
#![cfg(not(hk_loom))]

use hk_heap::{Heap, Options, ThreadHeap};
use hk_os::Fake;

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 128 << 10;
/// What one call may give back.
const CALL_MAX: u64 = 4 * MIB;

#[test]
fn a_call_gives_back_no_more_than_its_bound_and_the_next_ones_the_rest() {
    let heap = Heap::new(Fake::new(256 << 20));
    heap.start(&Options { reserve_bytes_max: 128 << 20, ..Options::default() }).unwrap();
    let thread = heap.attach().unwrap();
    let blocks: Vec<*mut u8> = (0..30).map(|_| heap.allocate(thread, 1 << 20)).collect();
    for block in blocks {
        heap.free(thread, block).expect("a live block");
    }
    // Free at one tick, and still free at the next.
    let mut dirty = heap.count().dirty_bytes;
    assert!(dirty >= 28 * MIB, "{dirty}");
    let mut calls = 0;
    let mut check = |now: u64| {
        assert!(dirty.saturating_sub(now) <= CALL_MAX, "{} bytes went back in one call", dirty - now);
        dirty = now;
        calls += 1;
        assert!(calls < 80, "{dirty} bytes never go back");
        (dirty, calls)
    };
    loop {
        heap.os().advance_ms(20);
        let block = heap.allocate(thread, BLOCK as usize);
        // What the block took was not given back.
        check(heap.count().dirty_bytes + BLOCK);
        heap.free(thread, block).expect("a live block");
        let (dirty, calls) = check(heap.count().dirty_bytes);
        if dirty <= 2 * MIB {
            assert!(calls >= 28 / 4, "all at once");
            break;
        }
    }
    heap.verify();
}

const PEAK: usize = 80 << 20;

/// A heap with two threads, and a peak of the first one's small blocks.
fn with_peak(work: impl FnOnce(&Heap<Fake>, &ThreadHeap, &ThreadHeap, Vec<*mut u8>)) {
    let heap = Heap::new(Fake::new(512 << 20));
    heap.start(&Options { reserve_bytes_max: 256 << 20, ..Options::default() }).unwrap();
    let (owner, other) = (heap.attach().unwrap(), heap.attach().unwrap());
    let blocks = (0..PEAK / 1024).map(|_| heap.allocate(owner, 1024)).collect();
    work(&heap, owner, other, blocks);
    heap.verify();
}

/// Checks call by call what went back.
struct Calls<'a> {
    heap: &'a Heap<Fake>,
    start: usize,
    before: usize,
}

impl<'a> Calls<'a> {
    fn begin(heap: &'a Heap<Fake>) -> Self {
        let now = heap.os().purged_bytes();
        Calls { heap, start: now, before: now }
    }

    fn check(&mut self) {
        let now = self.heap.os().purged_bytes();
        assert!((now - self.before) as u64 <= CALL_MAX, "{} bytes in one call", now - self.before);
        self.before = now;
    }

    /// Without a tick what is more than is used, and than 32 MiB, goes back.
    fn end(self) {
        let back = (self.before - self.start) as u64;
        assert!(back >= 40 * MIB, "{back} of 80 MiB");
    }
}

#[test]
fn mail_that_empties_many_spans_gives_back_no_more_than_any_call() {
    with_peak(|heap, owner, other, blocks| {
        for block in blocks {
            heap.free(other, block).expect("a live block");
        }
        let mut calls = Calls::begin(heap);
        for _ in 0..20_000 {
            let block = heap.allocate(owner, 100);
            calls.check();
            heap.free(owner, block).expect("a live block");
            calls.check();
        }
        calls.end();
    });
}

#[test]
fn what_is_freed_for_an_ended_thread_goes_back_without_its_help() {
    with_peak(|heap, ended, other, blocks| {
        heap.detach(ended);
        let mut calls = Calls::begin(heap);
        for block in blocks {
            heap.free(other, block).expect("a live block");
            calls.check();
        }
        calls.end();
    });
}
