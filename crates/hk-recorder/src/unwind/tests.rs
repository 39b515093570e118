//! Walks compared with glibc's own unwinder, instruction by instruction where it matters.

extern crate std;

use super::module::Module;
use super::*;
use std::ffi::{CString, c_int, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::vec::Vec;
use std::{format, ptr};

unsafe extern "C" {
    fn backtrace(buffer: *mut *mut c_void, size: c_int) -> c_int;
    fn dlopen(path: *const i8, flags: c_int) -> *mut c_void;
    fn dlclose(handle: *mut c_void) -> c_int;
    fn dlsym(handle: *mut c_void, name: *const i8) -> *mut c_void;
}

/// Signal handlers and their state are the process's.
pub(crate) static SIGNALS: Mutex<()> = Mutex::new(());

pub(crate) fn walk_all(mut walk: Walk) -> (Vec<u64>, StackState) {
    let mut frames = std::vec![walk.return_address()];
    loop {
        match walk.step() {
            Some(ended) => return (frames, ended),
            None => frames.push(walk.return_address()),
        }
        if frames.len() == 1000 {
            return (frames, StackState::Cut);
        }
    }
}

#[inline(never)]
fn glibc_backtrace() -> Vec<u64> {
    let mut buffer = std::vec![ptr::null_mut(); 1000];
    // SAFETY: there is room for as many entries as is said.
    let count = unsafe { backtrace(buffer.as_mut_ptr(), 1000) } as usize;
    // The first is this function's own.
    buffer[1..count].iter().map(|&frame| frame as u64).collect()
}

/// Walks from here and compares with glibc; the innermost frames lie in this function, at different calls.
#[inline(never)]
extern "C" fn compare_here() {
    let (frames, ended) = walk_all(Walk::new(&Registers::capture()));
    let expected = glibc_backtrace();
    assert_eq!(frames[1..], expected[1..], "{ended:?}");
    assert!(frames.len() > 3);
    assert_eq!(ended, StackState::Whole);
}

#[inline(never)]
pub(crate) fn recurse(depth: u32, leaf: &dyn Fn()) -> u32 {
    if depth == 0 {
        leaf();
        return 0;
    }
    std::hint::black_box([depth; 33]);
    recurse(depth - 1, leaf) + std::hint::black_box(depth)
}

/// Compiles C into a shared library and gives a function of it; None where there is no compiler.
pub(crate) fn compile(name: &str, flags: &[&str], source: &str, function: &str) -> Option<*mut c_void> {
    Some(load(name, flags, source, function)?.1)
}

/// Likewise, with the library's handle.
pub(crate) fn load(
    name: &str,
    flags: &[&str],
    source: &str,
    function: &str,
) -> Option<(*mut c_void, *mut c_void)> {
    let base: PathBuf = std::env::temp_dir().join(format!("hk-unwind-{}-{name}", std::process::id()));
    let (c_file, library) = (base.with_extension("c"), base.with_extension("so"));
    std::fs::write(&c_file, source).unwrap();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&c_file).args(flags);
    let Ok(status) = command.status() else {
        std::eprintln!("skipped: no C compiler (apt-get install gcc)");
        return None;
    };
    assert!(status.success());
    let path = CString::new(library.to_str().unwrap()).unwrap();
    let function = CString::new(function).unwrap();
    // SAFETY: both strings end with a zero byte. Lazy binding, so that the linkage table is gone through.
    let handle = unsafe { dlopen(path.as_ptr(), libc::RTLD_LAZY) };
    assert!(!handle.is_null());
    // SAFETY: as above; the handle is good.
    let symbol = unsafe { dlsym(handle, function.as_ptr()) };
    assert!(!symbol.is_null());
    let _ = std::fs::remove_file(c_file);
    let _ = std::fs::remove_file(library);
    Some((handle, symbol))
}

/// Unloads a library.
pub(crate) fn unload(handle: *mut c_void) {
    // SAFETY: the handle is good, and no code of the library is running.
    assert_eq!(unsafe { dlclose(handle) }, 0);
}

pub(crate) type CallBack = unsafe extern "C" fn(extern "C" fn());

/// Makes a compiled symbol a function that takes a callback.
pub(crate) fn as_call_back(symbol: *mut c_void) -> CallBack {
    // SAFETY: all test functions have this signature.
    unsafe { std::mem::transmute(symbol) }
}

#[test]
fn rust_frames_are_those_of_glibc() {
    recurse(50, &|| compare_here());
    std::thread::spawn(|| recurse(3, &|| compare_here())).join().unwrap();
}

pub(crate) const DEEP_C: &str = r#"
#include <stdlib.h>
#include <alloca.h>
#include <string.h>
static void (*callback)(void);
static int calls;
static int compare(const void *a, const void *b) {
    if (calls++ == 5) callback();
    return *(const int *)a - *(const int *)b;
}
static inline __attribute__((always_inline)) int inlined(int n) {
    int values[64];
    for (int i = 0; i < 64; i++) values[i] = (i * 7919 + n) % 64;
    qsort(values, 64, sizeof *values, compare);
    return values[n & 63];
}
__attribute__((noinline)) int variable(int n) {
    char *room = alloca(n * 100 + 17);
    memset(room, n, n * 100 + 17);
    __asm__ volatile("" : : "r"(room) : "memory");
    return inlined(n) + room[n];
}
__attribute__((noinline)) int deep(int n, int a, int b, int c, int d, int e, int f, int g, int h) {
    if (n == 0) return variable(9);
    return deep(n - 1, b, c, d, e, f, g, h, a) * 3 + a * b + c * d;
}
void run(void (*f)(void)) {
    callback = f;
    calls = 0;
    volatile int result = deep(10, 1, 2, 3, 4, 5, 6, 7, 8);
    (void)result;
}
"#;

#[test]
fn c_frames_without_frame_pointers_are_those_of_glibc() {
    for (name, flags) in [
        ("o2", &["-O2", "-fomit-frame-pointer"][..]),
        ("o0", &["-O0"][..]),
        ("os", &["-Os", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fexceptions"][..]),
    ] {
        let Some(run) = compile(name, flags, DEEP_C, "run") else { return };
        // SAFETY: `run` calls back once.
        unsafe { as_call_back(run)(compare_here) };
    }
}

/// What a signal handler saw: for each signal, its context's walk beside glibc's.
static SEEN: Mutex<(u32, Vec<std::string::String>)> = Mutex::new((0, Vec::new()));

/// The registers in the context that a handler is passed.
pub(crate) fn interrupted_registers(context: *mut c_void) -> Registers {
    // SAFETY: the kernel passes a ucontext to a handler installed with SA_SIGINFO.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = |index: c_int| context.uc_mcontext.gregs[index as usize] as u64;
    Registers {
        rip: register(libc::REG_RIP),
        rsp: register(libc::REG_RSP),
        rbp: register(libc::REG_RBP),
        rbx: register(libc::REG_RBX),
        r12: register(libc::REG_R12),
        r13: register(libc::REG_R13),
        r14: register(libc::REG_R14),
        r15: register(libc::REG_R15),
    }
}

/// Walks from the interrupted registers and from the handler itself; both have to end whole, and the
/// latter has to be glibc's.
extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let interrupted = interrupted_registers(context);
    let (from_context, ended) = walk_all(Walk::new(&interrupted));
    let (from_handler, handler_ended) = walk_all(Walk::new(&Registers::capture()));
    let at = from_handler.iter().position(|&frame| frame == interrupted.rip + 1);
    let mut problems = Vec::new();
    if ended != StackState::Whole || handler_ended != StackState::Whole {
        problems.push(format!("{:#x}: {ended:?}, handler {handler_ended:?}", interrupted.rip));
    } else if at.is_none_or(|at| from_handler[at..] != from_context[..]) {
        problems
            .push(format!("{:#x}: handler {from_handler:x?}, context {from_context:x?}", interrupted.rip));
    } else {
        // glibc gives interrupted program counters as they are.
        let expected = glibc_backtrace();
        let same = |(&ours, &theirs): (&u64, &u64)| ours == theirs || ours == theirs + 1;
        if from_handler.len() != expected.len() || !from_handler[1..].iter().zip(&expected[1..]).all(same) {
            problems.push(format!("ours {from_handler:x?}, glibc's {expected:x?}"));
        }
    }
    let mut seen = SEEN.lock().unwrap();
    seen.0 += 1;
    seen.1.extend(problems);
}

fn handle(signal: c_int, extra_flags: c_int) {
    handle_by(on_signal, signal, extra_flags);
}

pub(crate) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

pub(crate) fn handle_by(handler: Handler, signal: c_int, extra_flags: c_int) {
    // SAFETY: a zeroed sigaction is valid, and the fields are set before use.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | extra_flags;
    // SAFETY: the handler has the signature that SA_SIGINFO wants.
    assert_eq!(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) }, 0);
}

fn take_seen() -> (u32, Vec<std::string::String>) {
    std::mem::take(&mut *SEEN.lock().unwrap())
}

#[test]
fn a_handlers_stack_goes_on_into_the_interrupted_code() {
    let _signals = SIGNALS.lock().unwrap();
    let mut room = std::vec![0u8; 256 << 10];
    let other = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
    // SAFETY: the memory outlives the use as a signal stack, which ends below.
    assert_eq!(unsafe { libc::sigaltstack(&other, ptr::null_mut()) }, 0);
    for flags in [0, libc::SA_ONSTACK] {
        handle(libc::SIGUSR1, flags);
        // SAFETY: the handler is installed.
        recurse(5, &|| assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0));
        let (count, problems) = take_seen();
        assert_eq!((count, problems), (1, Vec::new()));
    }
    let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: no handler is running.
    unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
}

/// Single-steps over all of DEEP_C: prologues, epilogues, the linkage table and the loader's lazy binding.
pub(crate) const STEPPED_C: &str = r#"
#include <string.h>
#include <stdlib.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
__attribute__((noinline)) long inner(long a, long b, long c, long d, long e, long f, long g) {
    char text[100];
    memset(text, (int)a, sizeof text);
    int values[6] = { 5, 3, 9, 1, 2, 8 };
    qsort(values, 6, sizeof *values, compare);
    return labs(-g) + text[b] + strtol("123", 0, 10) + values[c] + d * e + f;
}
__attribute__((noinline)) long middle(long n) {
    long sum = 0;
    for (long i = 0; i < 2; i++) sum += inner(n, n + i, 2, 3, 4, 5, 6) * i;
    return sum;
}
/* The assembler moves the stack pointer behind the compiler's back: rules must not be based on it. */
__attribute__((optimize("no-omit-frame-pointer"))) void run(void (*f)(void)) {
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
    volatile long sum = middle(7);
    (void)sum;
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
}
"#;

pub(crate) extern "C" fn nothing() {}

#[test]
fn every_instruction_can_be_unwound_from() {
    let _signals = SIGNALS.lock().unwrap();
    handle(libc::SIGTRAP, 0);
    for (name, flags) in [
        ("step-o2", &["-O2", "-fomit-frame-pointer", "-Wl,-z,lazy", "-fplt", "-fno-builtin"][..]),
        ("step-o0", &["-O0", "-Wl,-z,lazy", "-fplt", "-fcf-protection=none"][..]),
    ] {
        let Some(run) = compile(name, flags, STEPPED_C, "run") else { return };
        // SAFETY: `run` does not use its argument, and leaves the trap flag as it was.
        unsafe { as_call_back(run)(nothing) };
        let (count, problems) = take_seen();
        assert!(count > 500, "{count} instructions");
        assert!(problems.is_empty(), "{} of {count}, first: {:#?}", problems.len(), problems.first());
    }
}

/// A trampoline without unwind tables, as other C libraries have.
const RESTORER_C: &str = r#"
#include <signal.h>
#include <unistd.h>
#include <sys/syscall.h>
__asm__(".text\nbare_restorer: mov $15, %rax\n syscall\n");
extern void bare_restorer(void);
struct action { void *handler; unsigned long flags; void *restorer; unsigned long mask; };
__attribute__((noinline)) static void interrupted(void) { raise(SIGUSR2); }
void run(void *handler) {
    struct action action = { handler, SA_SIGINFO | 0x04000000, bare_restorer, 0 };
    syscall(SYS_rt_sigaction, SIGUSR2, &action, 0, 8);
    interrupted();
    __asm__ volatile("");
}
"#;

#[test]
fn a_trampoline_without_tables_is_known_by_its_code() {
    let _signals = SIGNALS.lock().unwrap();
    let Some(run) = compile("restorer", &["-O2"], RESTORER_C, "run") else { return };
    // SAFETY: this `run` takes a handler, and raises its signal once.
    let run = unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Handler)>(run) };
    // SAFETY: as above.
    unsafe { run(on_signal) };
    assert_eq!(take_seen(), (1, Vec::new()));
}

/// Code that was made at run time: calls its argument.
pub(crate) fn generated(code: &[u8]) -> CallBack {
    let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping where nothing is.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, rights, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: a page of our own, with room for the code.
    unsafe { ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len()) };
    as_call_back(page)
}

/// What a walk from generated code came to.
static WALKED: Mutex<Option<(Vec<u64>, StackState)>> = Mutex::new(None);

extern "C" fn walk_from_here() {
    *WALKED.lock().unwrap() = Some(walk_all(Walk::new(&Registers::capture())));
}

#[test]
fn generated_code_is_gone_through_by_frame_pointers_or_ends_the_stack() {
    let (outer, _) = walk_all(Walk::new(&Registers::capture()));
    // push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
    let with = generated(&[0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3]);
    // SAFETY: the code calls its argument and returns.
    unsafe { with(walk_from_here) };
    let (frames, ended) = WALKED.lock().unwrap().take().unwrap();
    assert_eq!(ended, StackState::Whole);
    assert_eq!(frames[1], with as usize as u64 + 6);
    assert_eq!(frames[3..], outer[1..]);
    // push %rbp; xor %ebp,%ebp; call *%rdi; pop %rbp; ret
    let without = generated(&[0x55, 0x31, 0xed, 0xff, 0xd7, 0x5d, 0xc3]);
    // SAFETY: as above.
    unsafe { without(walk_from_here) };
    let (frames, ended) = WALKED.lock().unwrap().take().unwrap();
    assert_eq!((frames.len(), frames[1], ended), (2, without as usize as u64 + 5, StackState::Broken));
}

#[test]
fn the_mappings_tell_of_modules_what_the_loader_tells() {
    let mut probe = Probe::default();
    let (pcs, _) = walk_all(Walk::new(&Registers::capture()));
    for pc in pcs.iter().chain(&[libc::getpid as *const () as u64 + 1]) {
        let by_loader = Module::by_loader(*pc).unwrap();
        let by_maps = Module::by_maps(*pc).unwrap();
        assert_eq!(Module { loader_path: by_loader.loader_path, ..by_maps }, by_loader);
        let tables = by_maps.unwind_tables(&mut probe).unwrap();
        assert!(tables.find(*pc - 1).is_some());
    }
    assert_eq!(Module::by_maps(0x1000), None);
}

#[test]
fn the_loaders_function_is_the_one_that_dlsym_finds() {
    // SAFETY: the name ends with a zero byte.
    let expected = unsafe { dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    assert_eq!(loader::can_be_asked(), !expected.is_null());
    if !expected.is_null() {
        assert_eq!(loader::function_address(), expected as usize);
    }
}

#[test]
fn random_registers_end_in_a_broken_stack_and_not_in_a_fault() {
    let here = Registers::capture();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..20_000u64 {
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let near = |value: u64, noise: u64| value.wrapping_add(noise % 4096).wrapping_sub(2048);
        let mut damaged = here;
        match round % 4 {
            0 => damaged.rsp = near(here.rsp, next()),
            1 => damaged.rip = near(here.rip, next()),
            2 => (damaged.rip, damaged.rbp) = (near(here.rip, next()), near(here.rsp, next())),
            _ => (damaged.rip, damaged.rsp, damaged.rbp) = (next(), next(), next()),
        }
        walk_all(Walk::new(&damaged));
    }
}
