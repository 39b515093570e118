//! Rust blocks that are given back with another layout than they were asked for, by a program whose global
//! allocator is the crate `heapkeeper`: only such a heap is told of layouts, the C library's functions are
//! not.
//!
//!   layouts wrong-layout HOW BYTES DISTANCE LIFE bug|twin
//!
//! The wrong size is DISTANCE bytes more, or fewer where HOW says so.
#![allow(unsafe_code, clippy::multiple_unsafe_ops_per_block, reason = "the bugs are those of unsafe code")]

use heapkeeper::Heapkeeper;
use std::alloc::{Layout, alloc, dealloc, realloc};
use std::hint::black_box;

#[global_allocator]
static HEAP: Heapkeeper = Heapkeeper::new();

const ALIGNMENT: usize = 8;

#[inline(never)]
fn alloc_site(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here has size 0.
    black_box(unsafe { alloc(layout) })
}

#[inline(never)]
fn bug_site(how: &str, block: *mut u8, told: Layout) {
    // SAFETY: none, but in the twin.
    unsafe {
        match how {
            "vec" => drop(Vec::from_raw_parts(block, 0, told.size())),
            "realloc" => drop(Box::from_raw(black_box(realloc(block, told, 1)))),
            _ => dealloc(block, told),
        }
    }
    black_box(());
}

/// What the deallocation is told.
fn told(how: &str, layout: Layout, distance: usize) -> Layout {
    let (size, align) = match how {
        "dealloc-smaller" => (layout.size() - distance, layout.align()),
        "dealloc-aligned" => (layout.size(), 64),
        _ => (layout.size() + distance, layout.align()),
    };
    Layout::from_size_align(size, align).expect("a sound layout")
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, _, how, bytes, distance, life, truth] = words.as_slice() else { std::process::exit(64) };
    let (bytes, distance) = (bytes.parse().expect("a number"), distance.parse().expect("a number"));
    // What a vector and a box of bytes say of their alignment.
    let align = if how == "vec" || how == "realloc" { 1 } else { ALIGNMENT };
    let layout = Layout::from_size_align(bytes, align).expect("a sound layout");
    let block = alloc_site(layout);
    let told = if truth == "twin" { layout } else { told(how, layout, distance) };
    let (how, address) = (how.clone(), block.expose_provenance());
    let bug = move || bug_site(&how, std::ptr::with_exposed_provenance_mut(address), told);
    match life == "bug-elsewhere" {
        true => std::thread::spawn(bug).join().expect("the thread ends"),
        false => bug(),
    }
}
