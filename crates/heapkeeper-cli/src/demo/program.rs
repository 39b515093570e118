//! The small program that the demo runs: it totals four orders and packs them.
//!
//! It is the `heapkeeper` command itself, started again as `heapkeeper demo --program WAY`, so that the demo
//! needs nothing else. It uses the C library's malloc and free as a C program does. In four of the five ways
//! it is wrong on purpose; what is wrong stands beside each such call. The blocks are read and written as
//! volatile memory and their addresses go through `black_box`, for an optimiser deletes allocations that it
//! can see through, and may do anything with those that it knows to be freed. The functions that reports name have
//! names as in C: they are the reader's own, while paths of Rust's that begin with `heapkeeper` are the heap's.

#![allow(unsafe_code, reason = "shows what wrong calls of malloc and free do")]

use super::ways::Way;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Numbers in a vector: 32 bytes, an ordinary small block.
const VECTOR_LEN: usize = 4;
const VECTOR_BYTES: usize = VECTOR_LEN * size_of::<u64>();
/// Vectors that the clerk makes at most until one lies where the orders were.
const CLERK_VECTORS_MAX: usize = 1000;

/// A vector of four numbers, as C has it: an address.
type Vector = *mut u64;

/// Runs the program in one of the ways. It prints the total and the packs.
pub fn run(way: Way) -> std::io::Result<()> {
    forbid_core_files();
    let way = match way {
        Way::AfterLastUse => freed_after_last_use,
        Way::Never => never_freed,
        Way::BeforeTheLoop => freed_before_the_loop,
        Way::Twice => freed_twice,
        Way::WrongAddress => freed_from_the_wrong_address,
    };
    // On a thread of its own its stack is free of the command's functions.
    let thread = std::thread::Builder::new().name("orders".to_owned()).spawn(way)?;
    thread.join().map_err(|_| std::io::Error::other("the small program panicked"))
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn freed_after_last_use() {
    let orders = new_vector([1, 2, 3, 4]);
    let total = add_up(orders);
    // SAFETY: `orders` came from malloc, is freed once, and not used any more.
    unsafe { libc::free(orders.cast()) };
    let packs = finish(total);
    tell(total, packs);
    // SAFETY: as above, for `packs`.
    unsafe { libc::free(packs.cast()) };
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn never_freed() {
    let orders = new_vector([1, 2, 3, 4]);
    let total = add_up(orders);
    // Wrong: nobody will free the orders.
    let packs = finish(total);
    tell(total, packs);
    // SAFETY: `packs` came from malloc, is freed once, and not used any more.
    unsafe { libc::free(packs.cast()) };
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn freed_before_the_loop() {
    let orders = new_vector([1, 2, 3, 4]);
    let clerk = std::thread::Builder::new().name("clerk".to_owned()).spawn(put_away);
    HANDED_OVER.store(orders, Ordering::Release);
    while CLERK_DONE.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let total = add_up(orders); // Wrong: the clerk has freed them.
    let packs = finish(total);
    tell(total, packs);
    // SAFETY: `packs` came from malloc, is freed once, and not used any more.
    unsafe { libc::free(packs.cast()) };
    let _ = clerk.map(std::thread::JoinHandle::join);
}

/// The orders on their way to the clerk.
static HANDED_OVER: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());
/// 1 when the clerk has put the orders away and made vectors of the clerk's own.
static CLERK_DONE: AtomicU32 = AtomicU32::new(0);

/// Vectors that are in use to the end.
static KEPT: [AtomicPtr<u64>; CLERK_VECTORS_MAX] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; CLERK_VECTORS_MAX];

/// The clerk's thread: frees the orders, then allocates, until the new vector lies where the orders were.
// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn put_away() {
    let orders = loop {
        let orders = HANDED_OVER.load(Ordering::Acquire);
        if !orders.is_null() {
            break orders;
        }
        std::thread::yield_now();
    };
    // SAFETY: `orders` came from malloc and is freed once. That the main thread still reads them is what is shown.
    unsafe { libc::free(orders.cast()) };
    // The clerk keeps these vectors: given back, they would be handed out again at once.
    for place in &KEPT {
        let vector = new_vector([9, 9, 9, 9]);
        place.store(vector, Ordering::Relaxed);
        if vector == orders {
            break;
        }
    }
    black_box(&KEPT);
    CLERK_DONE.store(1, Ordering::Release);
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn freed_twice() {
    let orders = new_vector([1, 2, 3, 4]);
    let total = add_up(orders);
    // SAFETY: `orders` came from malloc and is freed for the first time.
    unsafe { libc::free(orders.cast()) };
    let packs = finish(total);
    // SAFETY: none. Wrong: the orders are free already, and this is what is shown.
    unsafe { libc::free(orders.cast()) };
    // The next day's orders stay in use to the end of the program.
    let next = new_vector([9, 9, 9, 9]);
    KEPT[0].store(next, Ordering::Relaxed);
    KEPT[1].store(packs, Ordering::Relaxed);
    black_box(&KEPT);
    tell(total, packs);
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn freed_from_the_wrong_address() {
    let orders = new_vector([1, 2, 3, 4]);
    let total = add_up(orders);
    let last = orders.wrapping_add(VECTOR_LEN - 1);
    // SAFETY: none. Wrong: this is the address of the last order, not of the block, and this is what is shown.
    unsafe { libc::free(last.cast()) };
    let packs = finish(total);
    tell(total, packs);
    // SAFETY: `packs` came from malloc, is freed once, and not used any more.
    unsafe { libc::free(packs.cast()) };
}

/// The finishing function: spreads the items over four packs, in a vector of its own.
#[inline(never)]
fn finish(total: u64) -> Vector {
    let count = VECTOR_LEN as u64;
    new_vector(std::array::from_fn(|i| (total + count - 1 - i as u64) / count))
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn add_up(orders: Vector) -> u64 {
    let mut total = 0;
    // By itself, so that a report names it and not a helper.
    for i in 0..VECTOR_LEN {
        let order = orders.wrapping_add(i);
        // SAFETY: as in `numbers`.
        total += unsafe { order.read_volatile() };
    }
    total
}

fn tell(total: u64, packs: Vector) {
    let [a, b, c, d] = numbers(packs);
    println!("total {total}, packed {a}+{b}+{c}+{d}");
}

// SAFETY: no other function of this program has that name.
#[unsafe(no_mangle)]
#[inline(never)]
fn new_vector(numbers: [u64; VECTOR_LEN]) -> Vector {
    // SAFETY: malloc takes any size.
    let block = unsafe { libc::malloc(VECTOR_BYTES) };
    let vector: Vector = black_box(block).cast();
    assert!(!vector.is_null(), "no memory for 32 bytes");
    for (i, number) in numbers.into_iter().enumerate() {
        // SAFETY: the block has room for VECTOR_LEN numbers, and malloc aligns it for them.
        unsafe { vector.wrapping_add(i).write_volatile(number) };
    }
    vector
}

fn numbers(vector: Vector) -> [u64; VECTOR_LEN] {
    // SAFETY: the address is that of a vector, and stays mapped: heaps don't take the pages of so small a block away
    // at once, or open them again for the access. In one way the block has been freed before: that is what is shown.
    std::array::from_fn(|i| unsafe { vector.wrapping_add(i).read_volatile() })
}

/// A demo that ends by SIGABRT need not leave a file behind.
fn forbid_core_files() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is a valid rlimit, which is only read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
