//! A process forks while other threads allocate: the child's heap is whole, and all of its parts are usable again.
#![cfg(not(any(hk_loom, miri)))]
#![allow(unsafe_code, reason = "fork, and threads that write into the blocks that they got")]

#[path = "oracle/random.rs"]
mod random;

use hk_heap::{Heap, Options, ThreadHeap};
use hk_os::Linux;
use random::Random;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const WORKERS: usize = 3;
const FORKS: u64 = 40;

/// Allocates and frees; puts blocks on the table for others to free.
fn work(heap: &Heap<Linux>, seed: u64, table: &Mutex<Vec<usize>>, stop: &AtomicBool) {
    let thread = heap.attach().unwrap();
    let mut random = Random::new(seed);
    let mut live = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let limit = [100, 2000, 100_000][random.below(3) as usize];
        let bytes = 1 + random.below(limit) as usize;
        live.push(heap.allocate(thread, bytes).expose_provenance());
        if random.below(4) == 0 {
            table.lock().unwrap().extend(live.pop());
        }
        let given = table.lock().unwrap().pop();
        let own = (live.len() > 200).then(|| live.swap_remove(random.below(200) as usize));
        for address in given.into_iter().chain(own) {
            heap.free(thread, std::ptr::with_exposed_provenance_mut(address)).expect("a live block");
        }
        if random.below(20) == 0 {
            heap.trim();
        }
    }
    heap.detach(thread);
}

/// What the child does with the heaps that were its parent's threads'.
fn use_all_heaps(heap: &Heap<Linux>, mine: &ThreadHeap, kept: &[*mut u8]) {
    let count = heap.heap_count();
    // No Vec: libc's malloc may hang here, as another thread of the parent had its lock.
    let mut heaps = [mine; WORKERS * 2];
    let heaps = &mut heaps[..count as usize - 1];
    heaps.fill_with(|| heap.attach().unwrap());
    assert_eq!(heap.heap_count(), count, "stale heaps are taken over before new ones are made");
    heap.verify();
    for (round, thread) in heaps.iter().chain([&mine]).cycle().take(3000).enumerate() {
        let bytes = 1 + round * 37 % 5000;
        let block = heap.allocate(thread, bytes);
        assert!(!block.is_null());
        // SAFETY: a new block of that size.
        unsafe { block.write_bytes(0xab, bytes) };
        if !round.is_multiple_of(3) {
            heap.free(mine, block).expect("a live block");
        }
    }
    for &block in kept {
        // SAFETY: a live block of 100 bytes that was filled before the fork.
        let content = unsafe { std::slice::from_raw_parts(block, 100) };
        assert!(content.iter().all(|&byte| byte == 0x5a), "a block was handed out twice");
        heap.free(mine, block).expect("a live block");
    }
    heaps.iter().for_each(|thread| heap.detach(thread));
    heap.verify();
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As libc's fork, whose handlers tell the heap.
    Told,
    /// By a bare system call.
    Raw,
}

/// True if the child found everything in order.
fn fork_once(heap: &Heap<Linux>, mine: &ThreadHeap, kept: &[*mut u8], way: Way) -> bool {
    if way == Way::Told {
        heap.prepare_fork();
    }
    let child = match way {
        // SAFETY: the child calls the heap, glibc's functions that it makes safe after fork, and _exit.
        Way::Told => unsafe { libc::fork() },
        // SAFETY: as above; what the child calls of glibc needs no lock of its parent's other threads.
        Way::Raw => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32 },
    };
    if child == 0 {
        // A child that hangs ends by that signal.
        // SAFETY: no pointers.
        unsafe { libc::alarm(30) };
        if way == Way::Raw {
            // It wants the lock, and so notices.
            let block = heap.allocate(mine, 1 << 20);
            assert!(!block.is_null());
            heap.free(mine, block).expect("a live block");
            // From here on as after a fork that was told of: all that the heap is can then be verified.
            heap.prepare_fork();
        }
        heap.after_fork_in_child(mine);
        let check = std::panic::AssertUnwindSafe(|| use_all_heaps(heap, mine, kept));
        let code = if std::panic::catch_unwind(check).is_ok() { 0 } else { 1 };
        // SAFETY: ends the child without the parent's exit handlers.
        unsafe { libc::_exit(code) };
    }
    if way == Way::Told {
        heap.after_fork_in_parent();
    }
    assert!(child > 0, "fork failed");
    let mut status = 0;
    // SAFETY: our own child.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    if status != 0 {
        // A child that was ended by a signal said nothing.
        eprintln!("child {child} ended with wait status {status:#x}");
    }
    status == 0
}

#[test]
fn a_child_takes_over_what_its_parents_threads_had() {
    fork_often(Way::Told);
}

#[test]
fn a_child_that_nobody_told_finds_the_lock_held_and_goes_on() {
    fork_often(Way::Raw);
}

fn fork_often(way: Way) {
    let heap = Heap::new(Linux);
    heap.start(&Options { reserve_bytes_max: 1 << 30, ..Options::default() }).unwrap();
    let (table, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        for seed in 0..WORKERS as u64 {
            let (heap, table, stop) = (&heap, &table, &stop);
            scope.spawn(move || work(heap, seed, table, stop));
        }
        let mine = heap.attach().unwrap();
        let mut kept = Vec::new();
        let mut all_well = true;
        for fork in 0..FORKS {
            for _ in 0..20 {
                let block = heap.allocate(mine, 100);
                // SAFETY: a new block of that size.
                unsafe { block.write_bytes(0x5a, 100) };
                kept.push(block);
            }
            if fork % 2 == 0 {
                thread::yield_now();
            }
            all_well &= fork_once(&heap, mine, &kept, way);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(all_well, "a child found its heap broken; its message is above");
        for block in kept {
            heap.free(mine, block).expect("a live block");
        }
        heap.detach(mine);
    });
    heap.verify();
}
