//! Memory goes back to the system by and by: no call gives back more than a bounded number of pages.
#![cfg(not(hk_loom))]

use hk_heap::{Heap, Options};
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

#[test]
fn mail_that_empties_many_spans_gives_back_no_more_than_any_call() {
    let heap = Heap::new(Fake::new(512 << 20));
    heap.start(&Options { reserve_bytes_max: 256 << 20, ..Options::default() }).unwrap();
    let (owner, other) = (heap.attach().unwrap(), heap.attach().unwrap());
    let blocks: Vec<*mut u8> = (0..(80 << 20) / 1024).map(|_| heap.allocate(owner, 1024)).collect();
    for block in blocks {
        heap.free(other, block).expect("a live block");
    }
    let (mut before, start) = (heap.os().purged_bytes(), heap.os().purged_bytes());
    for _ in 0..20_000 {
        let mut check = || {
            let now = heap.os().purged_bytes();
            assert!((now - before) as u64 <= CALL_MAX, "{} bytes in one call", now - before);
            before = now;
        };
        let block = heap.allocate(owner, 100);
        check();
        heap.free(owner, block).expect("a live block");
        check();
    }
    // Without a tick: what is more than is used, and than 32 MiB.
    let back = (before - start) as u64;
    assert!(back >= 40 * MIB, "{back} of 80 MiB");
    heap.verify();
}

#[test]
fn what_is_freed_for_an_ended_thread_goes_back_without_its_help() {
    let heap = Heap::new(Fake::new(512 << 20));
    heap.start(&Options { reserve_bytes_max: 256 << 20, ..Options::default() }).unwrap();
    let (ended, other) = (heap.attach().unwrap(), heap.attach().unwrap());
    let blocks: Vec<*mut u8> = (0..(80 << 20) / 1024).map(|_| heap.allocate(ended, 1024)).collect();
    heap.detach(ended);
    let start = heap.os().purged_bytes();
    let mut before = start;
    for block in blocks {
        heap.free(other, block).expect("a live block");
        let now = heap.os().purged_bytes();
        assert!((now - before) as u64 <= CALL_MAX, "{} bytes in one call", now - before);
        before = now;
    }
    let back = (before - start) as u64;
    assert!(back >= 40 * MIB, "{back} of 80 MiB");
    heap.verify();
}
