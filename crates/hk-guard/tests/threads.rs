//! Guards of several threads, over the fake operating system.
#![allow(unsafe_code, reason = "writes into blocks")]

use hk_guard::{Event, Freed, Guards, Options, Request, Side};
use hk_os::{Fake, Os};
use std::ptr::NonNull;
use std::thread;

const MIB: usize = 1 << 20;

fn started() -> Guards<Fake> {
    let os = Fake::new(64 * MIB);
    let area: NonNull<u8> = os.reserve(64 * MIB).unwrap();
    let guards = Guards::new(os);
    let options = Options { rest_pages: 64, bytes_max: 64 * MIB, commit: |_| true };
    guards.start(area, 64 * MIB, &options).unwrap();
    guards
}

fn event(stack: u32) -> Event {
    Event { stack, thread: 7, time_ns: u64::from(stack) }
}

fn byte_at(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

fn allocate(guards: &Guards<Fake>, bytes: usize, side: Side) -> usize {
    let request = Request { bytes, align: 16, side, zeroed: false, family: 1, allocated: event(5) };
    guards.allocate(&request).unwrap().as_ptr().expose_provenance()
}

#[test]
fn of_racing_frees_one_is_the_first() {
    let guards = started();
    for _ in 0..if cfg!(miri) { 5 } else { 200 } {
        let start = allocate(&guards, 64, Side::End);
        let free = || matches!(guards.free(start, event(1)), Freed::Done(..));
        let accepted: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(free)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(accepted, 1);
    }
}

#[test]
fn threads_have_blocks_of_their_own() {
    let guards = started();
    thread::scope(|scope| {
        for number in 0..4u8 {
            let guards = &guards;
            scope.spawn(move || {
                for round in 0..if cfg!(miri) { 10 } else { 300 } {
                    let bytes = 1 + round * 37 % 9000;
                    let start = allocate(guards, bytes, if round % 2 == 0 { Side::End } else { Side::Start });
                    // SAFETY: the thread's own block.
                    unsafe { byte_at(start).write_bytes(number, bytes) };
                    thread::yield_now();
                    // SAFETY: as above.
                    let last = unsafe { byte_at(start + bytes - 1).read() };
                    assert_eq!(last, number);
                    assert!(matches!(guards.free(start, event(1)), Freed::Done(_, None)));
                }
            });
        }
    });
    assert_eq!(guards.spent_bytes().0, 0);
}
