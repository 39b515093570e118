//! Stacks compared with the exact walk: at every depth, at every instruction, from damaged registers.

extern crate std;

use super::*;
use crate::STACK_FRAMES_MAX;
use crate::unwind::tests::*;
use crate::unwind::{EXACT_STEPS, Walk};
use std::ffi::{c_int, c_void};
use std::string::String;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::vec::Vec;
use std::{format, ptr};

static STACKS: Stacks = Stacks::new();

/// The exact walk's frames as they are to be kept.
pub(super) fn exactly(registers: &Registers, innermost: Innermost) -> (Vec<u64>, StackState) {
    let mut walk = Walk::new(registers);
    walk.skip(innermost);
    let (mut frames, mut ended) = walk_all(walk);
    if frames.len() > STACK_FRAMES_MAX {
        frames.truncate(STACK_FRAMES_MAX);
        ended = StackState::Cut;
    }
    (frames, ended)
}

pub(super) fn captured(
    stacks: &Stacks,
    registers: &Registers,
    innermost: Innermost,
) -> (Vec<u64>, StackState) {
    let mut frames = [0; STACK_FRAMES_MAX];
    let (count, ended) = stacks.frames(stacks.capture(registers, innermost), &mut frames);
    (frames[..count].to_vec(), ended)
}

/// What differs between the two, for each way to begin and with the rules known and unknown.
pub(super) fn difference(stacks: &Stacks, registers: &Registers) -> Option<String> {
    let all = [Innermost::AtCapture, Innermost::AtCaller, Innermost::OutsideOwnModule];
    all.into_iter().find_map(|innermost| difference_from(stacks, registers, innermost))
}

fn difference_from(stacks: &Stacks, registers: &Registers, innermost: Innermost) -> Option<String> {
    let exact = exactly(registers, innermost);
    let mut twice = (0..2).map(|_| captured(stacks, registers, innermost));
    let wrong = twice.find(|ours| *ours != exact)?;
    Some(format!("{innermost:?}: {wrong:x?}, exactly {exact:x?}"))
}

extern "C" fn compare_here() {
    assert_eq!(difference(&STACKS, &Registers::capture()), None);
}

#[test]
fn rust_stacks_agree_at_every_depth() {
    for depth in 0..80 {
        recurse(depth, &|| compare_here());
    }
    std::thread::spawn(|| recurse(3, &|| compare_here())).join().unwrap();
    let id = STACKS.capture(&Registers::capture(), Innermost::AtCapture);
    assert_eq!(STACKS.frames(id, &mut [0; STACK_FRAMES_MAX]).1, StackState::Whole);
}

const RECURSIVE_C: &str = r#"
static int depth;
__attribute__((noinline)) int down(void (*f)(void), int n, int a, int b, int c, int d, int e, int g) {
    if (n == 0) { f(); return a; }
    volatile int room[1 + 37 % (n + 1)];
    room[0] = a;
    return down(f, n - 1, b, c, d, e, g, a) * 3 + room[0] + b * c + d;
}
void run(void (*f)(void)) {
    for (depth = 0; depth < 100; depth++) {
        volatile int result = down(f, depth, 1, 2, 3, 4, 5, 6);
        (void)result;
    }
}
"#;

#[test]
fn c_stacks_without_frame_pointers_agree_at_every_depth() {
    for source in [DEEP_C, RECURSIVE_C] {
        for (name, flags) in [
            ("fast-o2", &["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"][..]),
            ("fast-o0", &["-O0"][..]),
            (
                "fast-os",
                &["-Os", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fexceptions"][..],
            ),
        ] {
            let Some(run) = compile(name, flags, source, "run") else { return };
            // SAFETY: `run` calls back.
            unsafe { as_call_back(run)(compare_here) };
        }
    }
}

/// Functions in assembly that nobody describes, in a library without symbols: one with a frame pointer, one that
/// uses it for something else.
const BARE_C: &str = r#"
__asm__(".text\nwith: push %rbp\n mov %rsp, %rbp\n sub $32, %rsp\n call *%rdi\n leave\n ret\n"
        "without: push %rbp\n mov $12345, %ebp\n sub $32, %rsp\n call *%rdi\n add $32, %rsp\n pop %rbp\n ret\n");
void with(void (*)(void));
void without(void (*)(void));
void run(void (*f)(void)) {
    with(f);
    without(f);
    __asm__ volatile("");
}
"#;

#[test]
fn functions_without_tables_are_gone_through_by_frame_pointers_or_end_the_stack() {
    let Some(run) = compile("bare", &["-O2", "-s"], BARE_C, "run") else { return };
    // SAFETY: `run` calls back twice.
    unsafe { as_call_back(run)(compare_here) };
}

/// Functions that align their stacks keep the frame address in memory.
const ALIGNED_C: &str = r#"
#include <alloca.h>
#include <string.h>
__attribute__((noinline)) int aligned(void (*f)(void), int n, int a, int b, int c, int d, int e, int g) {
    char room[128] __attribute__((aligned(64)));
    char *more = alloca(n * 24 + 5);
    memset(room, a, sizeof room);
    memset(more, b, n * 24 + 5);
    __asm__ volatile("" : : "r"(room), "r"(more) : "memory");
    if (n == 0) f();
    else n = aligned(f, n - 1, b, c, d, e, g, a);
    return n + room[e] + more[1] + g;
}
void run(void (*f)(void)) {
    volatile int result = aligned(f, 9, 1, 2, 3, 4, 5, 6);
    (void)result;
}
"#;

#[test]
fn functions_that_align_their_stacks_agree() {
    for (name, flags) in [("aligned-o2", &["-O2"][..]), ("aligned-o0", &["-O0"][..])] {
        let Some(run) = compile(name, flags, ALIGNED_C, "run") else { return };
        // SAFETY: `run` calls back once.
        unsafe { as_call_back(run)(compare_here) };
    }
}

/// How many signals there were, and what differed.
static SEEN: Mutex<(u32, Vec<String>)> = Mutex::new((0, Vec::new()));

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let interrupted = difference_from(&STACKS, &interrupted_registers(context), Innermost::AtCapture);
    let here = difference_from(&STACKS, &Registers::capture(), Innermost::AtCapture);
    let mut seen = SEEN.lock().unwrap();
    seen.0 += 1;
    seen.1.extend(interrupted.into_iter().chain(here));
}

fn take_seen() -> (u32, Vec<String>) {
    std::mem::take(&mut *SEEN.lock().unwrap())
}

#[test]
fn every_instruction_gives_the_same_stack() {
    let _signals = SIGNALS.lock().unwrap();
    handle_by(on_signal, libc::SIGTRAP, 0);
    for (name, flags) in [
        ("fast-step-o2", &["-O2", "-fomit-frame-pointer", "-Wl,-z,lazy", "-fplt", "-fno-builtin"][..]),
        // Without the loader's lookups, which have been gone through above.
        ("fast-step-o0", &["-O0", "-Wl,-z,now", "-fplt", "-fcf-protection=none"][..]),
    ] {
        let Some(run) = compile(name, flags, STEPPED_C, "run") else { return };
        let exact_steps = EXACT_STEPS.get();
        // SAFETY: `run` does not use its argument, and leaves the trap flag as it was.
        unsafe { as_call_back(run)(nothing) };
        let (count, problems) = take_seen();
        assert!(count > 500, "{count} instructions");
        assert!(problems.is_empty(), "{} of {count}, first: {:#?}", problems.len(), problems.first());
        // Loaders keep the frame address of a lookup in another register.
        assert!(!flags.contains(&"-Wl,-z,now") || EXACT_STEPS.get() == exact_steps, "exact steps");
    }
}

#[test]
fn a_handlers_stack_goes_on_into_the_interrupted_code_also_from_a_stack_of_its_own() {
    let _signals = SIGNALS.lock().unwrap();
    let mut room = std::vec![0u8; 256 << 10];
    let other = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
    // SAFETY: the memory outlives the use as a signal stack, which ends below.
    assert_eq!(unsafe { libc::sigaltstack(&other, ptr::null_mut()) }, 0);
    for flags in [0, libc::SA_ONSTACK] {
        handle_by(on_signal, libc::SIGUSR1, flags);
        // SAFETY: the handler is installed.
        recurse(5, &|| assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0));
        assert_eq!(take_seen(), (1, Vec::new()));
    }
    let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: no handler is running.
    unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
}

/// Signals whose handlers raise the next, the last of which looks at the stack.
const NESTED: [c_int; 3] = [libc::SIGUSR1, libc::SIGURG, libc::SIGUSR2];

extern "C" fn raise_next(signal: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let at = NESTED.iter().position(|&nested| nested == signal).unwrap();
    // SAFETY: a handler for each is installed.
    recurse(3, &|| assert_eq!(unsafe { libc::raise(NESTED[at + 1]) }, 0));
}

/// How many exact steps captures took whose rules were known.
static EXACT_STEPS_SEEN: AtomicU32 = AtomicU32::new(u32::MAX);

extern "C" fn on_nested_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    on_signal(signal, info, context);
    let before = EXACT_STEPS.get();
    captured(&STACKS, &Registers::capture(), Innermost::AtCapture);
    EXACT_STEPS_SEEN.store(EXACT_STEPS.get() - before, Ordering::Relaxed);
}

/// Handlers in handlers, of which each set of bits has those that are called on the signal stack.
extern "C" fn nest_signals(signal_stack: *mut c_void) -> *mut c_void {
    let other = libc::stack_t { ss_sp: signal_stack, ss_flags: 0, ss_size: SIGNAL_STACK_BYTES };
    // SAFETY: the memory outlives the thread.
    assert_eq!(unsafe { libc::sigaltstack(&other, ptr::null_mut()) }, 0);
    for on_stack in 0..1 << NESTED.len() {
        for (index, &signal) in NESTED.iter().enumerate() {
            let flags = if (on_stack >> index) & 1 == 1 { libc::SA_ONSTACK } else { 0 };
            let is_last = index + 1 == NESTED.len();
            handle_by(if is_last { on_nested_signal } else { raise_next }, signal, flags);
        }
        // SAFETY: the handlers are installed.
        recurse(5, &|| assert_eq!(unsafe { libc::raise(NESTED[0]) }, 0));
        assert_eq!(take_seen(), (1, Vec::new()));
        assert_eq!(EXACT_STEPS_SEEN.swap(u32::MAX, Ordering::Relaxed), 0, "exact steps");
    }
    ptr::null_mut()
}

const SIGNAL_STACK_BYTES: usize = 512 << 10;

#[test]
fn handlers_in_handlers_are_left_without_exact_steps_with_signal_stacks_above_and_below() {
    let _signals = SIGNALS.lock().unwrap();
    const THREAD_BYTES: usize = 1 << 20;
    let bytes = THREAD_BYTES + 2 * SIGNAL_STACK_BYTES;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping where nothing is.
    let room = unsafe { libc::mmap(ptr::null_mut(), bytes, rights, flags, -1, 0) };
    assert_ne!(room, libc::MAP_FAILED);
    let at = |offset: usize| room.wrapping_byte_add(offset);
    for signal_stack in [at(0), at(SIGNAL_STACK_BYTES + THREAD_BYTES)] {
        // SAFETY: any integers are valid, and the next call sets them.
        let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
        // SAFETY: there is room for them.
        assert_eq!(unsafe { libc::pthread_attr_init(&mut attributes) }, 0);
        // SAFETY: they are initialised; the stack is a part of our mapping.
        let set =
            unsafe { libc::pthread_attr_setstack(&mut attributes, at(SIGNAL_STACK_BYTES), THREAD_BYTES) };
        assert_eq!(set, 0);
        let mut thread = 0;
        // SAFETY: all outlive the call, and the function takes the signal stack.
        let made = unsafe { libc::pthread_create(&mut thread, &attributes, nest_signals, signal_stack) };
        assert_eq!(made, 0);
        // SAFETY: the thread was just made, and is joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
    }
    // The mapping stays, as what is known of the thread's stack is not forgotten.
}

/// A trampoline without tables, whose handler is called with the trampoline as its return address.
const BARE_RESTORER_C: &str = r#"
#include <signal.h>
#include <unistd.h>
#include <sys/syscall.h>
__asm__(".text\n nop\nbare: mov $15, %rax\n syscall\n");
extern void bare(void);
struct action { void *handler; unsigned long flags; void *restorer; unsigned long mask; };
void run(void *handler) {
    struct action action = { handler, SA_SIGINFO | 0x04000000, bare, 0 };
    syscall(SYS_rt_sigaction, SIGUSR2, &action, 0, 8);
    raise(SIGUSR2);
    __asm__ volatile("");
}
"#;

#[test]
fn a_trampoline_without_tables_is_left_without_exact_steps() {
    let _signals = SIGNALS.lock().unwrap();
    let Some(run) = compile("fast-restorer", &["-O2"], BARE_RESTORER_C, "run") else { return };
    type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    // SAFETY: this `run` takes a handler, and raises its signal once.
    let run = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Handler)>(run) };
    // SAFETY: as above.
    unsafe { run(on_nested_signal) };
    assert_eq!(take_seen(), (1, Vec::new()));
    assert_eq!(EXACT_STEPS_SEEN.swap(u32::MAX, Ordering::Relaxed), 0);
}

#[test]
fn generated_code_is_gone_through_by_frame_pointers_or_ends_the_stack() {
    // push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
    let with = generated(&[0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3]);
    // SAFETY: the code calls its argument and returns.
    unsafe { with(compare_here) };
    // As if it might be a module's now.
    STACKS.modules_loaded();
    // SAFETY: as above.
    unsafe { with(compare_here) };
    // push %rbp; xor %ebp,%ebp; call *%rdi; pop %rbp; ret
    let without = generated(&[0x55, 0x31, 0xed, 0xff, 0xd7, 0x5d, 0xc3]);
    // SAFETY: as above.
    unsafe { without(compare_here) };
}

#[test]
fn damaged_registers_give_the_same_stack() {
    let here = Registers::capture();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..4000u64 {
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        // Not below: what is there changes while we look.
        let near = |value: u64, noise: u64| value + noise % 4096;
        let mut damaged = here;
        match round % 4 {
            0 => damaged.rsp = near(here.rsp, next()),
            1 => damaged.rip = near(here.rip, next()),
            2 => (damaged.rip, damaged.rbp) = (near(here.rip, next()), near(here.rsp, next())),
            _ => (damaged.rip, damaged.rsp, damaged.rbp) = (next(), next(), next()),
        }
        assert_eq!(difference(&STACKS, &damaged), None, "{damaged:x?}");
    }
}

static INTERRUPTIONS: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

/// Compares without allocating, whatever was interrupted: a capture, or what the test allocates.
extern "C" fn on_interruption(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    for registers in [interrupted_registers(context), Registers::capture()] {
        let mut frames = [0; STACK_FRAMES_MAX];
        let id = STACKS.capture(&registers, Innermost::AtCapture);
        let (count, ended) = STACKS.frames(id, &mut frames);
        let mut walk = Walk::new(&registers);
        let mut exact_end = None;
        let same = frames[..count].iter().all(|&frame| {
            let same = exact_end.is_none() && walk.return_address() == frame;
            exact_end = walk.step();
            same
        });
        if !same || exact_end.unwrap_or(StackState::Cut) != ended {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
    INTERRUPTIONS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn captures_may_interrupt_captures() {
    let _signals = SIGNALS.lock().unwrap();
    handle_by(on_interruption, libc::SIGUSR2, 0);
    // SAFETY: asks for the calling thread's own handle.
    let target = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while INTERRUPTIONS.load(Ordering::Relaxed) < 500 {
                // SAFETY: the thread waits for this one to end.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR2) }, 0);
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut round = 0;
        while !done.load(Ordering::Relaxed) {
            round += 1;
            // Now and then by rules that are to be found anew.
            if round % 50 == 0 {
                STACKS.modules_changed();
            }
            recurse(round % 70, &|| drop(captured(&STACKS, &Registers::capture(), Innermost::AtCapture)));
        }
    });
    assert_eq!(WRONG.load(Ordering::Relaxed), 0);
}
