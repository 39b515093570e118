//! Random operations on the heap over the fake operating system, against an oracle that knows every block.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "the oracle writes into the blocks that it got")]

mod oracle;

use hk_heap::{Heap, Options, Reuse};
use hk_os::Fake;
use oracle::Oracle;

fn options(reserve_bytes: usize) -> Options {
    Options { reserve_bytes_max: reserve_bytes, ..Options::default() }
}

#[test]
fn random_operations_agree_with_the_oracle() {
    let rounds = if cfg!(miri) { 1 } else { 6 };
    let steps = if cfg!(miri) { 400 } else { 15_000 };
    for seed in 0..rounds {
        let heap = Heap::new(Fake::new(256 << 20));
        heap.start(&options(256 << 20)).unwrap();
        let thread = heap.attach().unwrap();
        let mut oracle = Oracle::new(&heap, seed);
        for _ in 0..steps {
            oracle.step(thread);
        }
        oracle.finish(thread);
        heap.verify();
        assert_eq!(heap.count().live_blocks, 0);
    }
}

#[test]
fn keep_never_hands_a_block_out_twice() {
    let heap = Heap::new(Fake::new(64 << 20));
    heap.start(&Options { reuse: Reuse::Never, ..options(64 << 20) }).unwrap();
    let thread = heap.attach().unwrap();
    let mut seen = std::collections::HashSet::new();
    for round in 0..2000 {
        let block = heap.allocate(thread, round % 300);
        assert!(!block.is_null() && seen.insert(block.addr()));
        heap.free(thread, block).unwrap();
        assert!(heap.free(thread, block).is_err(), "freed twice in keep mode");
    }
    assert_eq!(heap.count().kept_blocks, 2000);
    heap.verify();
}

#[test]
fn a_full_reservation_ends_in_null_and_recovers() {
    let heap = Heap::new(Fake::new(8 << 20));
    heap.start(&options(8 << 20)).unwrap();
    let thread = heap.attach().unwrap();
    let mut blocks = Vec::new();
    loop {
        let block = heap.allocate(thread, 1000);
        if block.is_null() {
            break;
        }
        blocks.push(block);
    }
    assert!(blocks.len() > 5000, "{}", blocks.len());
    assert!(heap.allocate(thread, 1 << 20).is_null());
    heap.verify();
    for block in blocks.drain(..) {
        heap.free(thread, block).unwrap();
    }
    heap.verify();
    assert!(!heap.allocate(thread, 1 << 20).is_null());
}

#[test]
fn a_refusing_system_ends_in_null() {
    let heap = Heap::new(Fake::new(64 << 20));
    heap.start(&options(64 << 20)).unwrap();
    let thread = heap.attach().unwrap();
    assert!(!heap.allocate(thread, 100).is_null());
    heap.os().limit_commits(0);
    let mut granted = 0;
    while !heap.allocate(thread, 30_000).is_null() {
        granted += 1;
        assert!(granted < 1000);
    }
    heap.verify();
    heap.os().limit_commits(usize::MAX);
    assert!(!heap.allocate(thread, 30_000).is_null());
}
