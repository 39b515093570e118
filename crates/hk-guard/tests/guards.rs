//! Guards over the fake operating system.
#![allow(unsafe_code, reason = "writes into blocks")]

use hk_guard::{Event, FaultKind, Freed, Guards, Method, Options, Request, Side};
use hk_os::{Fake, Os};
use std::ptr::NonNull;

const MIB: usize = 1 << 20;

const OPTIONS: Options = Options { rest_pages: 64, bytes_max: 64 * MIB, commit: |_| true };

fn started(os: Fake, area_bytes: usize) -> (Guards<Fake>, Method) {
    let area: NonNull<u8> = os.reserve(area_bytes).unwrap();
    let guards = Guards::new(os);
    let method = guards.start(area, area_bytes, &OPTIONS).unwrap();
    (guards, method)
}

fn event(stack: u32) -> Event {
    Event { stack, thread: 7, time_ns: u64::from(stack) }
}

fn request(bytes: usize, side: Side) -> Request {
    Request { bytes, align: 16, side, zeroed: false, family: 1, allocated: event(5) }
}

fn byte_at(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

fn allocate(guards: &Guards<Fake>, bytes: usize, side: Side) -> usize {
    guards.allocate(&request(bytes, side)).unwrap().as_ptr().expose_provenance()
}

#[test]
fn what_is_beyond_a_block_traps_and_so_does_what_was_freed() {
    let (guards, method) = started(Fake::new(64 * MIB), 64 * MIB);
    assert_eq!(method, Method::GuardPages);
    for bytes in [0, 1, 13, 16, 24, 4096, 5000, 300_000, 5 * MIB] {
        for side in [Side::End, Side::Start] {
            let start = allocate(&guards, bytes, side);
            let os = guards.system();
            for at in [start, start + bytes / 2, start + bytes.saturating_sub(1)] {
                assert_eq!(os.traps(at), bytes == 0, "{bytes} {side:?}");
            }
            let life = guards.live_at(start).unwrap();
            assert_eq!((life.requested_bytes, life.allocated, life.is_live), (bytes, event(5), true));
            assert!(os.traps(life.pages_start - 1) && os.traps(life.pages_end), "{bytes} {side:?}");
            match side {
                Side::End => assert!(os.traps(start + bytes.next_multiple_of(16))),
                Side::Start => assert!(os.traps(start - 1)),
            }
            let Freed::Done(_, None) = guards.free(start, event(9)) else { panic!("{bytes} {side:?}") };
            assert!(os.traps(start) && os.traps(start + bytes.saturating_sub(1)));
            let Freed::Twice(life) = guards.free(start, event(10)) else { panic!("{bytes} {side:?}") };
            assert_eq!((life.freed, life.is_live), (event(9), false));
        }
    }
    assert_eq!(guards.spent_bytes().0, 0);
}

#[test]
fn a_fault_is_about_the_nearest_block() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    let kind = |address| guards.fault_at(address).map(|fault| (fault.kind, fault.life.start));
    let first = allocate(&guards, 24, Side::End);
    let second = allocate(&guards, 24, Side::End);
    assert_eq!(kind(first + 32), Some((FaultKind::PastEnd, first)));
    let third = allocate(&guards, 24, Side::Start);
    assert_eq!(kind(third - 1), Some((FaultKind::BeforeStart, third)));
    assert_eq!(kind(first + 8), None, "no fault in a live block");
    guards.free(second, event(2));
    assert_eq!(kind(second), Some((FaultKind::AfterFree, second)));
    assert_eq!(kind(second + 23), Some((FaultKind::AfterFree, second)));
    assert_eq!(kind(first.wrapping_sub(256 * MIB)), None);
    let large = allocate(&guards, 9 * MIB, Side::End);
    assert_eq!(kind(large + 9 * MIB), Some((FaultKind::PastEnd, large)));
}

#[test]
fn overwritten_bytes_beside_a_block_are_found() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    for (bytes, side) in [(13, Side::End), (13, Side::Start), (5000, Side::End), (5000, Side::Start)] {
        let start = allocate(&guards, bytes, side);
        let life = guards.live_at(start).unwrap();
        for at in [life.pages_start, start - 1, start + bytes, life.pages_end - 1] {
            if (start..start + bytes).contains(&at) || !(life.pages_start..life.pages_end).contains(&at) {
                continue;
            }
            let start = allocate(&guards, bytes, side);
            let moved = guards.live_at(start).unwrap().pages_start + (at - life.pages_start);
            // SAFETY: in the pages of the block just allocated.
            let byte = unsafe { &mut *byte_at(moved) };
            *byte ^= 1;
            let mut found = Vec::new();
            guards.for_each_damaged(0, |life, damage| found.push((life.start, damage.start, damage.end)));
            assert_eq!(found, [(start, moved, moved + 1)]);
            let Freed::Done(_, Some(damage)) = guards.free(start, event(3)) else {
                panic!("{bytes} {side:?}")
            };
            assert_eq!((damage.start, damage.end), (moved, moved + 1));
        }
    }
}

#[test]
fn freed_blocks_rest_before_their_pages_are_used_again() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    let first = allocate(&guards, 100, Side::End);
    guards.free(first, event(1));
    let mut count = 0;
    loop {
        let next = allocate(&guards, 100, Side::End);
        guards.free(next, event(2));
        if next == first {
            break;
        }
        count += 1;
        assert!(count < 1000, "it comes back some time");
    }
    assert!(count >= OPTIONS.rest_pages / 2, "{count}");
}

#[test]
fn what_was_opened_is_closed_again() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    let start = allocate(&guards, 32, Side::End);
    assert!(guards.open_page(start + 32));
    assert!(!guards.system().traps(start + 32));
    guards.free(start, event(1));
    assert!(guards.system().traps(start + 32) && guards.system().traps(start));
    assert!(guards.open_page(start));
    assert!(!guards.system().traps(start));
    let mut next = 0;
    while next != start {
        next = allocate(&guards, 32, Side::Start) / 4096 * 4096 + 4096 - 32;
        let block = guards.life_at(next).unwrap().start;
        assert!(guards.system().traps(block - 1) && guards.system().traps(block / 4096 * 4096 + 4096));
        guards.free(block, event(1));
    }
}

#[test]
fn memory_is_bounded_and_addresses_that_are_no_block_are_told() {
    let (guards, _) = started(Fake::new(256 * MIB), 256 * MIB);
    let mut blocks = Vec::new();
    while let Ok(block) = guards.allocate(&request(100, Side::End)) {
        blocks.push(block.as_ptr().addr());
    }
    assert_eq!(blocks.len(), OPTIONS.bytes_max / (4096 - 100 + 64));
    // What a program asks for is its own affair.
    blocks.push(guards.allocate(&request(1 << 20, Side::End)).unwrap().as_ptr().addr());
    let Freed::NotStart(life) = guards.free(blocks[3] + 16, event(1)) else { panic!() };
    assert_eq!(life.start, blocks[3]);
    assert_eq!(guards.free(1234, event(1)), Freed::NoBlock);
    for block in blocks {
        assert!(matches!(guards.free(block, event(1)), Freed::Done(_, None)));
    }
}

#[test]
fn blocks_that_are_to_be_zero_are() {
    for batch in [0, 8] {
        let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
        guards.set_batch(batch);
        let zeroed = Request { zeroed: true, ..request(1000, Side::End) };
        for _ in 0..if cfg!(miri) { 20 } else { 500 } {
            guards.close_if_full(|_, _| {});
            let block = guards.allocate(&zeroed).unwrap().as_ptr();
            // SAFETY: a block of a thousand bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, 1000) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(7);
            guards.free(block.addr(), event(1));
        }
    }
}

#[test]
fn what_a_larger_block_left_is_gone_too() {
    let (guards, _) = started(Fake::new(256 * MIB), 256 * MIB);
    for round in 0..if cfg!(miri) { 9 } else { 600 } {
        // Of one size of slots, whose pages smaller blocks use in part.
        let bytes = [3 * MIB / 2, 1_100_000, 2 * MIB - 5][round % 3];
        let side = if round % 7 < 3 { Side::Start } else { Side::End };
        let zeroed = Request { zeroed: true, ..request(bytes, side) };
        let block = guards.allocate(&zeroed).unwrap().as_ptr();
        // SAFETY: a block of so many bytes.
        let block = unsafe { std::slice::from_raw_parts_mut(block, bytes) };
        let places = (0..bytes).step_by(4096).chain([bytes - 1]);
        for at in places {
            assert_eq!(block[at], 0, "{bytes} bytes, round {round}, at {at}");
            block[at] = 7;
        }
        // What is locked cannot be given back.
        guards.system().set_locked(round % 5 == 0);
        guards.free(block.as_ptr().addr(), event(1));
        guards.system().set_locked(false);
    }
}

#[test]
fn a_fault_in_a_block_that_is_live_by_now_is_of_the_past() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    let start = allocate(&guards, 100, Side::End);
    assert!(guards.is_live_at(start) && guards.is_live_at(start + 99) && !guards.is_live_at(start + 4096));
    guards.free(start, event(1));
    assert!(!guards.is_live_at(start));
}

#[test]
fn a_buffer_is_a_blocks_own_up_to_its_end() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    let start = allocate(&guards, 100, Side::Start);
    assert_eq!(guards.buffer_at(start, 100), Some((100, None)));
    let (own, fault) = guards.buffer_at(start + 60, 50).unwrap();
    assert_eq!((own, fault.unwrap().kind), (40, FaultKind::PastEnd));
    guards.free(start, event(1));
    let (own, fault) = guards.buffer_at(start, 1).unwrap();
    assert_eq!((own, fault.unwrap().kind), (0, FaultKind::AfterFree));
    assert_eq!(guards.buffer_at(16, 1), None);
}

#[test]
fn freed_blocks_may_wait_for_their_guards() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    guards.set_batch(8);
    let blocks: Vec<usize> = (0..8).map(|_| allocate(&guards, 100, Side::End)).collect();
    for &block in &blocks {
        guards.close_if_full(|_, _| panic!("nothing was overwritten"));
        assert!(matches!(guards.free(block, event(1)), Freed::Done(_, None)));
        assert!(!guards.system().traps(block));
        assert!(matches!(guards.free(block, event(2)), Freed::Twice(_)));
    }
    // SAFETY: the page is open still.
    unsafe { byte_at(blocks[5] + 7).write(1) };
    let mut found = Vec::new();
    guards.close_if_full(|life, damage| found.push((life.start, damage.start, damage.end)));
    assert_eq!(found, [(blocks[5], blocks[5] + 7, blocks[5] + 8)]);
    assert!(blocks.iter().all(|&block| guards.system().traps(block)));
    assert_eq!(guards.spent_bytes().0, 0);
    let next = allocate(&guards, 100, Side::End);
    assert!(!guards.system().traps(next));
}

/// An access at `address` traps, and goes on when its page is opened.
fn opens(guards: &Guards<Fake>, address: usize) {
    assert!(guards.system().traps(address));
    assert!(guards.open_page(address));
    assert!(!guards.system().traps(address), "a page that is opened does not trap again");
}

#[test]
fn what_was_closed_in_a_batch_can_be_opened_guards_and_all() {
    let (guards, _) = started(Fake::new(64 * MIB), 64 * MIB);
    guards.set_batch(16);
    let blocks: Vec<usize> = (0..16).map(|_| allocate(&guards, 4096, Side::End)).collect();
    blocks.iter().for_each(|&block| _ = guards.free(block, event(1)));
    guards.close_if_full(|_, _| {});
    opens(&guards, blocks[3]);
    opens(&guards, blocks[5] + 4096);
    // The same slots again, as soon as they come round: behind each of them, and after its free.
    for _ in 0..if cfg!(miri) { 5 } else { 200 } {
        let block = allocate(&guards, 4096, Side::End);
        assert!(!guards.system().traps(block));
        opens(&guards, block + 4096);
        guards.free(block, event(2));
        guards.close_if_full(|_, _| {});
    }
}

#[test]
fn blocks_that_were_locked_come_back() {
    for bytes in [100, 30_000, 5 * MIB] {
        let (guards, _) = started(Fake::new(256 * MIB), 256 * MIB);
        for round in 0..if cfg!(miri) { 10 } else { 300 } {
            let block = allocate(&guards, bytes, if round % 3 == 0 { Side::Start } else { Side::End });
            for at in [block, block + bytes - 1] {
                assert!(!guards.system().traps(at), "{bytes} bytes, round {round}");
            }
            // Now and then the program has locked what it frees, or all of its memory.
            guards.system().set_locked(round % 5 == 0 || (100..140).contains(&round));
            assert!(matches!(guards.free(block, event(1)), Freed::Done(_, None)));
            opens(&guards, block);
            guards.system().set_locked(false);
        }
        assert_eq!(guards.take_unclosed(), 0);
    }
}

#[test]
fn without_guard_pages_there_are_few_blocks_and_they_are_protected() {
    let (guards, method) = started(Fake::without_guards(256 * MIB), 256 * MIB);
    let Method::Protection { blocks_max } = method else { panic!("{method:?}") };
    let start = allocate(&guards, 100, Side::End);
    assert!(!guards.system().traps(start) && guards.system().traps(start + 112));
    guards.free(start, event(1));
    assert!(guards.system().traps(start));
    let mut count = 0;
    while guards.allocate(&request(1, Side::End)).is_ok() {
        count += 1;
    }
    assert_eq!(count, blocks_max);
}
