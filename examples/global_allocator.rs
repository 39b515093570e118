//! A Rust program on Heapkeeper.
//!
//! ```text
//! cargo run --example global_allocator                # how large the heap is, step by step
//! cargo run --example global_allocator double-free    # a bug in unsafe code: named, and made harmless
//! ```

#![allow(unsafe_code, reason = "unsafe code is where a Rust program frees a block twice")]

use heapkeeper::{Heapkeeper, Stats};
use std::alloc::{Layout, alloc, dealloc};
use std::thread;

#[global_allocator]
static HEAP: Heapkeeper = Heapkeeper::new();

fn main() {
    tell("at the start", HEAP.stats());
    let days: Vec<Vec<u64>> = thread::scope(|scope| {
        let clerks: Vec<_> = (0..4).map(|clerk| scope.spawn(move || orders_of(clerk))).collect();
        clerks.into_iter().flat_map(|clerk| clerk.join().expect("a clerk does not panic")).collect()
    });
    let total: u64 = days.iter().flatten().sum();
    tell("with all orders", HEAP.stats());
    drop(days);
    tell("orders dropped", HEAP.stats());
    println!("total {total}");
    if std::env::args().nth(1).is_some_and(|word| word == "double-free") {
        free_twice();
        println!("the program goes on");
    }
}

/// Many small vectors, made on a thread of their own.
fn orders_of(clerk: u64) -> Vec<Vec<u64>> {
    (0..10_000).map(|day| vec![clerk, day, clerk + day]).collect()
}

/// Live bytes and blocks are counted, exactly; peaks are estimates, mostly a little too high.
fn tell(when: &str, stats: Stats) {
    let Stats { live_blocks, live_bytes, live_peak_bytes, span_bytes, .. } = stats;
    println!(
        "{when:<16} {live_blocks:>6} blocks, {live_bytes:>8} bytes live (peak {live_peak_bytes}), {span_bytes} in spans"
    );
}

fn free_twice() {
    let layout = Layout::new::<[u64; 4]>();
    // SAFETY: the size is not zero.
    let orders = unsafe { alloc(layout) };
    // SAFETY: `orders` came from `alloc` with this layout.
    unsafe { dealloc(orders, layout) };
    // SAFETY: none. Wrong: the block is free already. Heapkeeper names this call and ignores it.
    unsafe { dealloc(orders, layout) };
}
