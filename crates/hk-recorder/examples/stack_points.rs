//! A malloc to be preloaded that takes the stacks of some of its calls, for a debugger to check.
//!
//! `cargo xtask soak stacks` runs programs on it under gdb, with a breakpoint at `hk_stack_point`, which is
//! called with the number of the point. Each stack is a line in the file that `HK_STACKS_FILE` names: number,
//! how it ended, and its return addresses. `HK_STACKS_EVERY` says how many calls there are to a point, and
//! `HK_STACKS_POINTS` how many points.
#![allow(unsafe_code, reason = "functions of C")]

use hk_recorder::{Innermost, Registers, STACK_FRAMES_MAX, Stacks};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn getenv(name: *const c_char) -> *const c_char;
}

static STACKS: Stacks = Stacks::new();
static CALLS: AtomicU64 = AtomicU64::new(0);
static POINTS: AtomicU64 = AtomicU64::new(0);
/// How many calls there are to a point, and how many points; 0 until they were looked up.
static EVERY: AtomicU64 = AtomicU64::new(0);
static POINTS_MAX: AtomicU64 = AtomicU64::new(0);
static FILE: AtomicI32 = AtomicI32::new(-1);

/// The program's malloc: glibc's, with a look at some of its callers.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(bytes: usize) -> *mut c_void {
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    // Calls that are spread like random ones, and the same in each run.
    let spread =
        call.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
    if spread.is_multiple_of(every()) {
        let point = POINTS.fetch_add(1, Ordering::Relaxed);
        if point < POINTS_MAX.load(Ordering::Relaxed) {
            hk_stack_point(point);
        }
    }
    // SAFETY: glibc's own function takes any size.
    unsafe { __libc_malloc(bytes) }
}

/// Where the debugger stops.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn hk_stack_point(point: u64) {
    let id = STACKS.capture(&Registers::capture(), Innermost::OutsideOwnModule);
    let mut frames = [0; STACK_FRAMES_MAX];
    let (count, ended) = STACKS.frames(id, &mut frames);
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    line.number(point);
    line.number(ended as u64);
    frames[..count].iter().for_each(|&frame| line.number(frame));
    line.push(b'\n');
    // SAFETY: the bytes are there. What cannot be written is missed by whoever compares.
    unsafe { libc::write(FILE.load(Ordering::Relaxed), line.bytes.as_ptr().cast(), line.len) };
}

/// A line of hexadecimal numbers, put together without an allocation.
struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

const LINE_BYTES: usize = (STACK_FRAMES_MAX + 2) * 17 + 1;

impl Line {
    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.len) {
            *to = byte;
            self.len += 1;
        }
    }

    fn number(&mut self, number: u64) {
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.push(b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]);
        }
        self.push(b' ');
    }
}

fn every() -> u64 {
    match EVERY.load(Ordering::Relaxed) {
        0 => {
            let (every, points) = (variable(c"HK_STACKS_EVERY"), variable(c"HK_STACKS_POINTS"));
            FILE.store(open_file(), Ordering::Relaxed);
            POINTS_MAX.store(points.unwrap_or(0), Ordering::Relaxed);
            let every = every.unwrap_or(1).max(1);
            EVERY.store(every, Ordering::Relaxed);
            every
        }
        every => every,
    }
}

fn open_file() -> c_int {
    // SAFETY: the name ends with a zero byte.
    let path = unsafe { getenv(c"HK_STACKS_FILE".as_ptr()) };
    if path.is_null() {
        return -1;
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the environment's strings end with a zero byte.
    unsafe { libc::open(path, flags, 0o600) }
}

fn variable(name: &CStr) -> Option<u64> {
    // SAFETY: the name ends with a zero byte.
    let value = unsafe { getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: the environment's strings end with a zero byte, and nobody changes them while programs start.
    let value = unsafe { CStr::from_ptr(value) };
    value.to_str().ok()?.parse().ok()
}
