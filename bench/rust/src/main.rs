//! Rust programs as people write them, on the global allocator that the feature chooses: see the modules. Each prints a
//! checksum that is the same on all.
//!
//!   hk-bench-rust service|collections|syntax|tasks
//!   hk-bench-rust allocator    what it is built with

mod collections;
mod random;
mod service;
mod syntax;
mod tasks;

#[cfg(feature = "heapkeeper")]
#[global_allocator]
static HEAP: heapkeeper::Heapkeeper = heapkeeper::Heapkeeper::new();
#[cfg(feature = "mimalloc")]
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;
#[cfg(feature = "jemalloc")]
#[global_allocator]
static HEAP: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
#[cfg(feature = "snmalloc")]
#[global_allocator]
static HEAP: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;
#[cfg(feature = "rpmalloc")]
#[global_allocator]
static HEAP: rpmalloc::RpMalloc = rpmalloc::RpMalloc;
#[cfg(feature = "tcmalloc")]
#[global_allocator]
static HEAP: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;
#[cfg(feature = "system")]
#[global_allocator]
static HEAP: std::alloc::System = std::alloc::System;

fn main() {
    let program = std::env::args().nth(1).unwrap_or_default();
    if program == "allocator" {
        return println!("{}", std::any::type_name_of_val(&HEAP));
    }
    let sum = match program.as_str() {
        "service" => service::run(),
        "collections" => collections::run(),
        "syntax" => syntax::run(),
        "tasks" => tasks::run(),
        _ => {
            eprintln!("hk-bench-rust: service, collections, syntax or tasks?");
            std::process::exit(2);
        }
    };
    println!("{sum}");
}
