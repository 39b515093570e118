//! How long a stack takes that was seen before, by its depth: `cargo run --release --example capture_speed`.
//!
//! The frames are those of a recursive function without frame pointers, with registers to save and locals. Each
//! figure is the least of many batches, as other programs only ever make it longer.

#![allow(unsafe_code, reason = "starts a thread without the standard library's frames; signals")]

use hk_recorder::{Innermost, Registers, STACK_FRAMES_MAX, Stacks};
use std::ffi::c_int;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Instant;

static STACKS: Stacks = Stacks::new();

const CAPTURES: u32 = 1000;
const BATCHES: u32 = 200;

#[inline(never)]
fn capture() -> u32 {
    STACKS.capture(&Registers::capture(), Innermost::AtCapture).get()
}

/// Nanoseconds of a capture at this depth, and its frames.
#[inline(never)]
fn measure() -> (f64, usize) {
    let id = STACKS.capture(&Registers::capture(), Innermost::AtCapture);
    let (frames, _) = STACKS.frames(id, &mut [0; STACK_FRAMES_MAX]);
    let mut best_ns = f64::MAX;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..CAPTURES {
            black_box(capture());
        }
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / f64::from(CAPTURES));
    }
    // One more than here: that of `capture`.
    (best_ns, frames + 1)
}

#[inline(never)]
fn recurse(depth: usize, a: u64, b: u64, c: u64) -> (f64, usize) {
    if depth == 0 {
        return measure();
    }
    let kept = black_box([a, b, c, a ^ b, b ^ c]);
    let (best_ns, frames) = recurse(depth - 1, black_box(b), black_box(c), black_box(a));
    black_box(kept);
    (best_ns + black_box(0.0), frames)
}

/// Captures at the end of one of 2^20 ways of this depth; without capturing, what the way itself takes.
#[inline(always)]
fn one_way(way: u32, depth: u32, captures: bool) -> u32 {
    match depth {
        0 if captures => capture(),
        0 => 1,
        _ if (way >> (depth % 20)) & 1 == 0 => left(way, depth - 1, captures),
        _ => right(way, depth - 1, captures),
    }
}

#[inline(never)]
fn left(way: u32, depth: u32, captures: bool) -> u32 {
    let kept = black_box([way, depth]);
    one_way(way, depth, captures) ^ black_box(kept)[0]
}

#[inline(never)]
fn right(way: u32, depth: u32, captures: bool) -> u32 {
    let kept = black_box([way, depth, 5]);
    one_way(way, depth, captures).wrapping_add(black_box(kept)[1])
}

/// Nanoseconds of a capture in `ways` ways in turn, thirty frames deep: caches do not hold all that is compared.
fn measure_ways(ways: u32) -> (f64, f64) {
    let pass_ns = |captures: bool| {
        let start = Instant::now();
        for way in 0..ways {
            black_box(one_way(way.wrapping_mul(0x9e37_79b1) >> 12, 25, captures));
        }
        start.elapsed().as_nanos() as f64 / f64::from(ways)
    };
    let first_ns = pass_ns(true);
    let best_ns = |captures| (0..20).map(|_| pass_ns(captures)).fold(f64::MAX, f64::min);
    (first_ns, best_ns(true) - best_ns(false))
}

/// What the handler came to.
static MEASURED: Mutex<(f64, usize)> = Mutex::new((0.0, 0));

extern "C" fn on_signal(_: c_int) {
    *MEASURED.lock().unwrap() = measure();
}

/// Nanoseconds of a capture in a signal handler (on a stack of its own, or not), so many calls below, and its
/// frames.
fn measure_in_handler(depth: usize, flags: c_int) -> (f64, usize) {
    // SAFETY: any integers are valid; an empty mask among them.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
    action.sa_flags = flags;
    // SAFETY: the handler takes a signal's number; it interrupts nothing but the call below.
    assert_eq!(unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) }, 0);
    raise_below(depth);
    *MEASURED.lock().unwrap()
}

#[inline(never)]
fn raise_below(depth: usize) {
    if depth == 0 {
        // SAFETY: the handler is installed.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
    } else {
        raise_below(black_box(depth - 1));
    }
    black_box(depth);
}

fn measure_handlers() {
    let mut room = vec![0u8; 256 << 10];
    let other = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
    // SAFETY: the memory outlives its use: no signal comes later that has a handler on that stack.
    assert_eq!(unsafe { libc::sigaltstack(&other, std::ptr::null_mut()) }, 0);
    for (flags, place) in [(0, "a handler"), (libc::SA_ONSTACK, "a handler with a stack of its own")] {
        let (_, base) = measure_in_handler(0, flags);
        let (best_ns, frames) = measure_in_handler(30 - base, flags);
        println!("{frames} frames, one of them a signal's, in {place}: {best_ns:.0} ns");
    }
    let none = libc::stack_t { ss_flags: libc::SS_DISABLE, ..other };
    // SAFETY: no handler is running.
    assert_eq!(unsafe { libc::sigaltstack(&none, std::ptr::null_mut()) }, 0);
}

extern "C" fn measure_all(_: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
    let start = Instant::now();
    black_box(capture());
    println!("the first of all: {} ns", start.elapsed().as_nanos());
    let (_, base) = recurse(0, 1, 2, 3);
    for wanted in [5, 10, 30, 60] {
        // The fewest there can be are those without `recurse`.
        let (best_ns, frames) = if wanted < base { measure() } else { recurse(wanted - base, 1, 2, 3) };
        println!("{frames} frames: {best_ns:.0} ns, {:.1} ns a frame", best_ns / frames as f64);
    }
    measure_handlers();
    for ways in [1000, 10_000, 100_000] {
        let (first_ns, best_ns) = measure_ways(ways);
        println!("30 frames, {ways} stacks in turn: {best_ns:.0} ns; when they are new {first_ns:.0} ns");
    }
    println!("{} bytes of stacks, {} dropped", STACKS.bytes(), STACKS.dropped());
    std::ptr::null_mut()
}

fn main() {
    let mut thread = 0;
    let (nothing, none) = (std::ptr::null(), std::ptr::null_mut());
    // SAFETY: `thread` outlives the call, and the function takes any argument.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, nothing, measure_all, none) }, 0);
    // SAFETY: the thread was just made, and is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, std::ptr::null_mut()) }, 0);
}
