//! A heap that gives address space back: what remains serves on, and what went is never touched or claimed again.
#![cfg(not(hk_loom))]
#![allow(unsafe_code, reason = "a system that watches what is released is an Os")]

mod oracle;

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
use hk_heap::{At, Heap, Options};
use hk_os::{Fake, Os, Purged, SignalMask};
use oracle::{Oracle, Random};
use std::ops::Range;
use std::sync::Mutex;

const RESERVE_BYTES: usize = 256 << 20;
/// What released memory is filled with, to see that nobody writes to it.
const GONE: u8 = 0xa5;

/// A model of the address space: which ranges were reserved, made accessible and released.
#[derive(Default)]
struct Model {
    reserved: Vec<Range<usize>>,
    committed: Vec<Range<usize>>,
    released: Vec<Range<usize>>,
}

fn overlaps(ranges: &[Range<usize>], range: &Range<usize>) -> bool {
    ranges.iter().any(|other| other.start < range.end && range.start < other.end)
}

impl Model {
    fn reserved_bytes(&self) -> usize {
        let bytes =
            |ranges: &[Range<usize>]| ranges.iter().map(|range| range.end - range.start).sum::<usize>();
        bytes(&self.reserved) - bytes(&self.released)
    }
}

/// The fake system, with a model that contradicts.
struct Watched {
    fake: Fake,
    model: Mutex<Model>,
}

impl Watched {
    fn new() -> Self {
        Watched { fake: Fake::new(RESERVE_BYTES), model: Mutex::default() }
    }
}

// SAFETY: memory comes from the fake system, and is never handed out twice.
unsafe impl Os for Watched {
    fn reserve(&self, bytes: usize) -> Option<NonNull<u8>> {
        let start = self.fake.reserve(bytes)?;
        self.model.lock().unwrap().reserved.push(start.addr().get()..start.addr().get() + bytes);
        Some(start)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        let range = start.addr().get()..start.addr().get() + bytes;
        let mut model = self.model.lock().unwrap();
        assert!(bytes > 0 && bytes.is_multiple_of(4096) && range.start.is_multiple_of(4096));
        assert!(model.reserved.iter().any(|all| all.start <= range.start && range.end <= all.end));
        assert!(!overlaps(&model.committed, &range), "released while accessible");
        assert!(!overlaps(&model.released, &range), "released twice");
        model.released.push(range);
        // SAFETY: the caller gives the range up; the fake system keeps it.
        unsafe { start.write_bytes(GONE, bytes) };
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let range = start.addr().get()..start.addr().get() + bytes;
        // SAFETY: passed on.
        let granted = unsafe { self.fake.commit(start, bytes) };
        let mut model = self.model.lock().unwrap();
        assert!(!overlaps(&model.released, &range), "asked for what was released");
        model.committed.extend(granted.then_some(range));
        granted
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Purged {
        let range = start.addr().get()..start.addr().get() + bytes;
        assert!(!overlaps(&self.model.lock().unwrap().released, &range), "purged what was released");
        // SAFETY: passed on.
        unsafe { self.fake.purge(start, bytes) }
    }

    unsafe fn populate_huge(&self, start: NonNull<u8>, bytes: usize) {
        let range = start.addr().get()..start.addr().get() + bytes;
        assert!(!overlaps(&self.model.lock().unwrap().released, &range), "populated what was released");
        // SAFETY: passed on.
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
        self.fake.word_wiped_on_fork()
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
        None
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

fn started() -> Heap<Watched> {
    let heap = Heap::new(Watched::new());
    heap.start(&Options { reserve_bytes_max: RESERVE_BYTES, ..Options::default() }).unwrap();
    heap
}

/// Everything that the heap says about its reservation is what the model says.
fn check(heap: &Heap<Watched>) {
    let model = heap.os().model.lock().unwrap();
    assert_eq!(heap.reserved_bytes(), model.reserved_bytes());
    for gone in &model.released {
        for address in [gone.start, gone.start + (gone.end - gone.start) / 2, gone.end - 1] {
            assert!(!heap.owns(address), "{address:#x} was released");
        }
    }
    for accessible in &model.committed {
        assert!(heap.owns(accessible.start) && heap.owns(accessible.end - 1));
    }
}

fn check_untouched(heap: &Heap<Watched>) {
    for gone in &heap.os().model.lock().unwrap().released {
        let bytes: *const u8 = core::ptr::with_exposed_provenance(gone.start);
        for offset in (0..gone.end - gone.start).step_by(997) {
            // SAFETY: the fake system never frees.
            assert_eq!(unsafe { bytes.wrapping_add(offset).read() }, GONE, "written to after its release");
        }
    }
}

#[test]
fn what_remains_fits_and_is_all_that_can_be_had() {
    let heap = started();
    let thread = heap.attach().unwrap();
    assert!(!heap.allocate(thread, 100).is_null());
    assert!(heap.shrink_reservation(32 << 20));
    check(&heap);
    assert!(heap.reserved_bytes() <= 32 << 20, "{}", heap.reserved_bytes());
    assert!(heap.reserved_bytes() > 30 << 20, "{}", heap.reserved_bytes());
    assert!(heap.allocate(thread, 64 << 20).is_null());
    let mut blocks = Vec::new();
    loop {
        let block = heap.allocate(thread, 128 << 10);
        if block.is_null() {
            break;
        }
        blocks.push(block);
    }
    assert!(blocks.len() * (128 << 10) > 24 << 20, "{} blocks", blocks.len());
    for block in blocks {
        heap.free(thread, block).unwrap();
    }
    heap.verify();
    check(&heap);
    check_untouched(&heap);
}

#[test]
fn what_is_in_use_stays_and_a_little_more() {
    let heap = started();
    let thread = heap.attach().unwrap();
    let blocks: Vec<_> = (0..1000).map(|_| heap.allocate(thread, 40_000)).collect();
    assert!(heap.shrink_reservation(0));
    check(&heap);
    assert!(heap.reserved_bytes() < 96 << 20, "{}", heap.reserved_bytes());
    assert!(!heap.allocate(thread, 3 << 20).is_null(), "room to grow");
    for block in blocks {
        heap.free(thread, block).unwrap();
    }
    heap.verify();
    check_untouched(&heap);
}

#[test]
fn a_released_address_is_a_strangers() {
    let heap = started();
    let thread = heap.attach().unwrap();
    // Headers are accessible further than slices are handed out, so a free would look one up.
    let block = heap.allocate(thread, 1 << 20);
    assert!(heap.shrink_reservation(8 << 20));
    let released = heap.os().model.lock().unwrap().released.clone();
    let slices = released.iter().max_by_key(|range| range.start).unwrap();
    for address in [slices.start, slices.start + 4096, slices.end - 64] {
        assert_eq!(heap.free(thread, block.with_addr(address)).unwrap_err().at, At::Foreign);
    }
    heap.free(thread, block).unwrap();
    check(&heap);
}

#[test]
fn never_grows_again() {
    let heap = started();
    heap.attach().unwrap();
    heap.shrink_reservation(32 << 20);
    let small = heap.reserved_bytes();
    heap.shrink_reservation(128 << 20);
    assert_eq!(heap.reserved_bytes(), small);
    check(&heap);
}

#[test]
fn a_vfork_child_leaves_its_parents_heap_alone() {
    let heap = started();
    heap.attach().unwrap();
    // Another process id, without the handlers that run in a fork child.
    heap.os().fake.fork();
    assert!(!heap.shrink_reservation(8 << 20));
    assert_eq!(heap.reserved_bytes(), RESERVE_BYTES);
}

#[test]
fn random_operations_go_on_while_the_reservation_shrinks() {
    let steps = if cfg!(miri) { 300 } else { 12_000 };
    for seed in 0..3 {
        let heap = started();
        let thread = heap.attach().unwrap();
        let mut random = Random::new(seed + 100);
        let mut oracle = Oracle::new(&heap, seed);
        let mut bytes_max = RESERVE_BYTES;
        for step in 0..steps {
            oracle.step(thread);
            if step % (steps / 12) == 0 {
                bytes_max -= (bytes_max as u64 / 8 + random.below(bytes_max as u64 / 8)) as usize;
                assert!(heap.shrink_reservation(bytes_max));
                check(&heap);
            }
        }
        oracle.finish(thread);
        heap.verify();
        check(&heap);
        check_untouched(&heap);
    }
}
