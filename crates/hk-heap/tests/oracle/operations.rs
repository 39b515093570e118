//! A program of bytes: operations on one heap by two threads' heaps that take turns, checked by the oracle.

use crate::oracle::{Oracle, Random};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
use hk_heap::{Heap, Options};
use hk_os::{Fake, Os, Purged, SignalMask};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Mutex;

const RESERVE_BYTES: usize = 32 << 20;

/// Runs the operations that `bytes` stand for.
///
/// # Panics
/// If the heap does anything that the oracle does not expect.
pub fn run(bytes: &[u8]) {
    let heap = Heap::new(Passing { fake: Fake::new(RESERVE_BYTES), reservations: Mutex::default() });
    heap.start(&Options { reserve_bytes_max: RESERVE_BYTES, ..Options::default() }).unwrap();
    let mut threads = [heap.attach().unwrap(), heap.attach().unwrap()];
    let mut oracle = Oracle::choosing_by(&heap, Random::from_bytes(bytes));
    while !oracle.random().is_spent() {
        let (turn, action) = (oracle.random().below(2) as usize, oracle.random().below(64));
        match action {
            0 => {
                heap.detach(threads[turn]);
                threads[turn] = heap.attach().unwrap();
            }
            1 => heap.os().fake.advance_ms(100),
            _ => oracle.step(threads[turn]),
        }
    }
    oracle.finish(threads[0]);
    heap.verify();
    assert_eq!(heap.count().live_blocks, 0);
}

/// A fake system whose memory goes with it, so that a fuzzer can make a million.
struct Passing {
    fake: Fake,
    reservations: Mutex<Vec<(usize, Layout)>>,
}

impl Drop for Passing {
    fn drop(&mut self) {
        for (start, layout) in self.reservations.get_mut().unwrap().drain(..) {
            // SAFETY: from `reserve`; the heap is gone.
            unsafe { dealloc(std::ptr::with_exposed_provenance_mut(start), layout) };
        }
    }
}

// SAFETY: as the fake; memory is given back when nobody can use it any more.
unsafe impl Os for Passing {
    fn reserve(&self, bytes: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, 64 << 10).ok()?;
        if bytes > RESERVE_BYTES {
            return None;
        }
        // SAFETY: the heap never reserves nothing.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        self.reservations.lock().unwrap().push((start.as_ptr().expose_provenance(), layout));
        Some(start)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.fake.release(start, bytes) }
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.fake.commit(start, bytes) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Purged {
        // SAFETY: the caller's promise.
        unsafe { self.fake.purge(start, bytes) }
    }

    unsafe fn populate_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.fake.populate_huge(start, bytes) };
    }

    unsafe fn prefer_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.fake.prefer_huge(start, bytes) };
    }

    unsafe fn split_huge(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.fake.split_huge(start, bytes) };
    }

    fn word_wiped_on_fork(&self) -> Option<&'static AtomicU32> {
        // It would be leaked, and nothing forks here.
        None
    }

    fn wait(&self, word: &AtomicU32, expected: u32, timeout_ms: u32) {
        self.fake.wait(word, expected, timeout_ms);
    }

    fn wake_one(&self, word: &AtomicU32) {
        self.fake.wake_one(word);
    }

    fn now_ms(&self) -> u64 {
        self.fake.now_ms()
    }

    fn address_space_left(&self) -> Option<usize> {
        self.fake.address_space_left()
    }

    fn block_signals(&self) -> SignalMask {
        self.fake.block_signals()
    }

    fn restore_signals(&self, mask: SignalMask) {
        self.fake.restore_signals(mask);
    }

    fn thread_token(&self) -> usize {
        self.fake.thread_token()
    }

    fn process_id(&self) -> u32 {
        self.fake.process_id()
    }
}
