//! Stacks with words that cannot be read, or no longer.

extern crate std;

use super::tests_of_walking::{captured, difference, exactly};
use super::*;
use crate::unwind::tests::*;
use crate::{resume_after_bad_read, set_reads_recover};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::AtomicU32;

static STACKS: Stacks = Stacks::new();
const PAGE: usize = 4096;

/// Pages of our own that hold frames.
struct Pages {
    start: usize,
}

impl Pages {
    fn new() -> Pages {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping where nothing is.
        let start = unsafe { libc::mmap(ptr::null_mut(), 4 * PAGE, rights, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Pages { start: start as usize }
    }

    fn protect(&self, page: usize, rights: c_int) {
        let at = (self.start + page * PAGE) as *mut c_void;
        // SAFETY: one of our own pages, to which there are no references.
        assert_eq!(unsafe { libc::mprotect(at, PAGE, rights) }, 0);
    }

    /// Frames in generated code, by frame pointers, half a page apart, from the middle of the first page on.
    fn registers(&self, code: u64) -> Registers {
        for half in 1..7 {
            let frame = (self.start + half * PAGE / 2) as *mut [u64; 2];
            let next = self.start + (half + 1) * PAGE / 2;
            let words = if half == 6 { [0, 0] } else { [next as u64, code] };
            // SAFETY: inside our pages, where nothing else is.
            unsafe { frame.write(words) };
        }
        let (sp, bp) = ((self.start + 16) as u64, (self.start + PAGE / 2) as u64);
        Registers { rip: code, rsp: sp, rbp: bp, ..Registers::default() }
    }
}

static FAULTS: AtomicU32 = AtomicU32::new(0);

/// What a handler for SIGSEGV has to do.
extern "C" fn on_fault(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a ucontext, which is this handler's to change.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let pc = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    match resume_after_bad_read(*pc as u64) {
        Some(resumed) => {
            *pc = resumed as i64;
            FAULTS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: ends a test that has failed.
        None => unsafe { libc::abort() },
    }
}

#[test]
fn words_that_cannot_be_read_end_the_stack() {
    let _signals = SIGNALS.lock().unwrap();
    // nop; nop; nop; nop
    let code = generated(&[0x90; 4]) as usize as u64 + 2;
    let pages = Pages::new();
    let registers = pages.registers(code);
    assert_eq!(difference(&STACKS, &registers), None);
    let whole = captured(&STACKS, &registers, Innermost::AtCapture);
    assert_eq!((whole.0.len(), whole.1), (6, StackState::Whole));
    // Reads do not recover yet: what was readable before does not count.
    pages.protect(2, libc::PROT_NONE);
    let broken = captured(&STACKS, &registers, Innermost::AtCapture);
    assert_eq!((broken.0.len(), broken.1), (4, StackState::Broken));
    assert_eq!(broken, exactly(&registers, Innermost::AtCapture));
    // Now they do, and the page is known, so that it is read: first there, then not.
    handle_by(on_fault, libc::SIGSEGV, 0);
    set_reads_recover(true);
    pages.protect(2, libc::PROT_READ | libc::PROT_WRITE);
    assert_eq!(captured(&STACKS, &registers, Innermost::AtCapture), whole);
    let before = FAULTS.load(Ordering::Relaxed);
    pages.protect(2, libc::PROT_NONE);
    assert_eq!(captured(&STACKS, &registers, Innermost::AtCapture), broken);
    assert_eq!(FAULTS.load(Ordering::Relaxed), before + 1);
    // That is remembered: the kernel is asked again.
    assert_eq!(captured(&STACKS, &registers, Innermost::AtCapture), broken);
    assert_eq!(FAULTS.load(Ordering::Relaxed), before + 1);
    // The handler stays: another test's walk may be in the midst of a read.
    set_reads_recover(false);
}

#[test]
fn only_our_own_read_is_resumed() {
    assert_eq!(resume_after_bad_read(0), None);
    assert_eq!(resume_after_bad_read(resume_after_bad_read as fn(u64) -> Option<u64> as usize as u64), None);
}

extern "C" fn compare_here() {
    assert_eq!(difference(&STACKS, &Registers::capture()), None);
}

/// Coroutines: a stack of their own, unmapped at their end and mapped again for the next.
const COROUTINE_C: &str = r#"
#include <sys/mman.h>
#include <ucontext.h>
static ucontext_t caller, coroutine;
static void (*callback)(void);
static void body(void) { callback(); swapcontext(&coroutine, &caller); callback(); }
void run(void (*f)(void)) {
    callback = f;
    for (int round = 0; round < 20; round++) {
        unsigned long bytes = (2 + round % 3) << 18;
        char *room = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = room;
        coroutine.uc_stack.ss_size = bytes;
        coroutine.uc_link = &caller;
        makecontext(&coroutine, body, 0);
        swapcontext(&caller, &coroutine);
        f();
        swapcontext(&caller, &coroutine);
        munmap(room, bytes);
    }
}
"#;

#[test]
fn coroutines_that_come_and_go_have_stacks() {
    let Some(run) = compile("coroutine", &["-O2"], COROUTINE_C, "run") else { return };
    // SAFETY: `run` calls back.
    unsafe { as_call_back(run)(compare_here) };
}

#[test]
fn threads_that_come_and_go_have_stacks() {
    for round in 0..60usize {
        let thread = std::thread::Builder::new().stack_size((64 + 32 * (round % 5)) << 10);
        let body = move || {
            recurse(round as u32 % 7, &|| compare_here());
            STACKS.thread_ends();
            compare_here();
        };
        thread.spawn(body).unwrap().join().unwrap();
    }
}

#[test]
fn a_deep_stack_is_found_readable_page_by_page() {
    std::thread::Builder::new()
        .stack_size(8 << 20)
        .spawn(|| {
            for depth in [1, 2000, 500, 4000, 3] {
                recurse(depth, &|| compare_here());
            }
        })
        .unwrap()
        .join()
        .unwrap();
}
