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
