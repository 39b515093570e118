//! The handler of SIGSEGV: bad accesses to guarded blocks are reported, and go on; all other faults are the program's.
//!
//! It is installed once by a bare system call, and stays. What the program asks sigaction(2) about SIGSEGV is answered here
//! ([`exchange_action`]), and its handler is called as the kernel would: with its mask, its flags, once if it asked for that, and by default the
//! process dies of the very instruction that faulted. SIGSEGV is not held back from the handler itself (SA_NODEFER), as taking a stack may
//! lead to memory that is not there ([`hk_recorder::resume_after_bad_read`]).

use super::findings::{Told, kind_of, place_of};
use crate::process::{Host, ProcessHeap};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hk_format::{AccessKind, CODE_BYTES, Call, Evidence, NoteKind};
use hk_os::{KernelAction, Os, exchange_kernel_action};
use hk_recorder::{Access, Registers, resume_after_bad_read, set_reads_recover};
use libc::{SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_SIGINFO, SIG_DFL, SIG_IGN, SIGSEGV, c_int};

/// Bits of the page fault's error code (Intel SDM, volume 3, 4.7).
const FAULT_WRITE: i64 = 1 << 1;
const FAULT_FETCH: i64 = 1 << 4;
/// si_code of faults without an address (general protection).
const SI_KERNEL: c_int = 0x80;
/// A fault by a mapping's protection (sigaction(2)). At a guard page, whose mapping can be accessed, the kernel says SEGV_MAPERR, as where no
/// mapping is (observed on Linux 6.18).
const SEGV_ACCERR: c_int = 2;
const SIGNAL_SET_BYTES: usize = 8;
const PAGE_BYTES: usize = 4096;

/// What the program wants done on SIGSEGV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// SIG_DFL, SIG_IGN, or a function.
    pub handler: usize,
    /// Of sigaction(2).
    pub flags: u64,
    /// Signals 1 to 64.
    pub mask: u64,
}

/// The program's action, while ours is installed.
struct Program {
    handler: AtomicUsize,
    flags: AtomicU64,
    mask: AtomicU64,
}

static PROGRAM: Program =
    Program { handler: AtomicUsize::new(0), flags: AtomicU64::new(0), mask: AtomicU64::new(0) };
static INSTALLED: AtomicBool = AtomicBool::new(false);
static OURS: AtomicUsize = AtomicUsize::new(0);
/// How often SIGSEGV was taken over again; a program that insists is to have it.
static TAKEN_BACK: AtomicU32 = AtomicU32::new(0);
const TAKEN_BACK_MAX: u32 = 3;
static LAST_TRY: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicBool = AtomicBool::new(false);

impl Program {
    fn get(&self) -> Action {
        Action {
            handler: self.handler.load(Ordering::Acquire),
            flags: self.flags.load(Ordering::Relaxed),
            mask: self.mask.load(Ordering::Relaxed),
        }
    }

    /// Two threads that set it at once may mix theirs up, as may the kernel's order of two such calls.
    fn set(&self, action: Action) {
        self.flags.store(action.flags, Ordering::Relaxed);
        self.mask.store(action.mask, Ordering::Relaxed);
        // Release: who sees the handler sees its flags.
        self.handler.store(action.handler, Ordering::Release);
    }
}

/// Whether SIGSEGV is ours: then [`exchange_action`] answers for it, and it is not to be blocked.
pub fn is_installed() -> bool {
    INSTALLED.load(Ordering::Acquire)
}

/// sigaction(2) for SIGSEGV: sets the program's action if there is one, and gives what it was.
pub fn exchange_action(new: Option<Action>) -> Action {
    let old = PROGRAM.get();
    if let Some(new) = new {
        PROGRAM.set(new);
        set_kernel_action(flags_for(new));
    }
    old
}

/// Whose stack, and whether interrupted calls go on, is the program's choice, where it has a handler.
fn flags_for(program: Action) -> u64 {
    let chosen = match program.handler {
        SIG_DFL | SIG_IGN => SA_ONSTACK as u64,
        _ => program.flags & (SA_ONSTACK | SA_RESTART) as u64,
    };
    chosen | (SA_SIGINFO | SA_NODEFER) as u64
}

/// Installs the handler.
pub(super) fn install<H: Host>() {
    if INSTALLED.swap(true, Ordering::AcqRel) {
        return;
    }
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault::<H>;
    OURS.store(handler as usize, Ordering::Relaxed);
    take_over(exchange_kernel_action(SIGSEGV, None).unwrap_or_default());
    unblock();
    set_reads_recover(true);
}

/// What was there is the program's from now on.
fn take_over(old: KernelAction) {
    PROGRAM.set(Action { handler: old.handler, flags: old.public_flags(), mask: old.mask });
    set_kernel_action(flags_for(PROGRAM.get()));
}

/// Who started the process may have blocked it; other threads have their masks from this one.
fn unblock() {
    let segv: u64 = 1 << (SIGSEGV - 1);
    // SAFETY: a set of the size that the kernel has.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_UNBLOCK,
            &raw const segv,
            core::ptr::null_mut::<u64>(),
            SIGNAL_SET_BYTES,
        )
    };
}

fn set_kernel_action(flags: u64) {
    // All other signals wait: their handlers might be put where a report is being made, or come back to it.
    let faults = [SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
    let mask = faults.iter().fold(u64::MAX, |mask, signal| mask & !(1 << (signal - 1)));
    exchange_kernel_action(
        SIGSEGV,
        Some(KernelAction::handled_by(OURS.load(Ordering::Relaxed), flags, mask)),
    );
}

extern "C" fn on_fault<H: Host>(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = hk_os::Errno::get();
    // SAFETY: the kernel gives both, to this handler alone.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    // SAFETY: as above.
    let about = unsafe { &*info };
    if let Some(resume) = resume_after_bad_read(registers[libc::REG_RIP as usize] as u64) {
        registers[libc::REG_RIP as usize] = resume as i64;
        return;
    }
    let code = about.si_code;
    // SAFETY: a field of each signal's kind; without meaning for signals that were sent, which is looked at.
    let address = unsafe { about.si_addr() }.addr();
    let is_fault = code > 0 && code != SI_KERNEL;
    let is_denied = code == SEGV_ACCERR;
    if is_fault && on_large_stack(context, || H::process().trap(address, is_denied, registers)) {
        hk_os::Errno::set(errno);
        return;
    }
    hk_os::Errno::set(errno);
    pass_on(signal, info, context, is_fault || code == SI_KERNEL);
}

impl<H: Host> ProcessHeap<H> {
    /// A fault at `address`; `is_denied`: by the protection of a mapping, not by a guard page. True if the access may go on.
    fn trap(&self, address: usize, is_denied: bool, registers: &[i64; 23]) -> bool {
        let guards = &self.guarding.guards;
        let is_fetch = registers[libc::REG_ERR as usize] & FAULT_FETCH != 0;
        // The walk at the end met a block that is freed meanwhile, or one that the program has protected itself.
        if self.guarding.walker.load(Ordering::Relaxed) == hk_recorder::tid() {
            return guards.open_page(address);
        }
        // The slot was used again before this thread came here, so the access goes on; or the program has protected the block itself, and the
        // fault is its own. A guard page tells by the signal's code; where ours is protection too, the access is made once more.
        if guards.is_live_at(address) {
            return !is_fetch && (!is_denied || guards.uses_protection() && is_first_try(address));
        }
        let Some(fault) = guards.contains(address).then(|| guards.fault_at(address)).flatten() else {
            return false;
        };
        let error = registers[libc::REG_ERR as usize];
        let access = match error {
            error if error & FAULT_FETCH != 0 => AccessKind::Execute,
            error if error & FAULT_WRITE != 0 => AccessKind::Write,
            _ => AccessKind::Read,
        };
        let opens = access != AccessKind::Execute;
        let registers = captured(registers);
        let mut code = [0; CODE_BYTES];
        let code = if opens { code_at(registers.rip, &mut code) } else { &[] };
        let told = Told {
            kind: kind_of(fault.kind, access),
            call: Call::Access,
            place: place_of(&fault.life, address),
            address,
            evidence: Evidence::Trap,
            access: Access { kind: Some(access), bytes: 0, code },
            opened: opens,
        };
        self.report_fault(&fault, &told, &registers);
        opens && guards.open_page(address)
    }

    /// Looks now and then whether the handler is still ours. Where nobody sees the program install one (Rust's std does so after its first
    /// allocations), it becomes the one that faults are passed on to.
    pub(crate) fn check_trap(&self) {
        let Some(present) = exchange_kernel_action(SIGSEGV, None) else { return };
        if present.handler == OURS.load(Ordering::Relaxed) {
            return;
        }
        if !H::SEES_HANDLERS && TAKEN_BACK.fetch_add(1, Ordering::Relaxed) < TAKEN_BACK_MAX {
            take_over(present);
        } else if !LOST.swap(true, Ordering::Relaxed) {
            set_reads_recover(false);
            self.recording.note(NoteKind::TrapsLost, 0, b"");
        }
    }
}

/// Whether the last fault that this was asked of was another. Two threads that fault in turn may both be told so again.
fn is_first_try(address: usize) -> bool {
    let key = address ^ ((hk_recorder::tid() as usize) << 48);
    let is_first = LAST_TRY.load(Ordering::Relaxed) != key;
    LAST_TRY.store(if is_first { key } else { 0 }, Ordering::Relaxed);
    is_first
}

fn captured(registers: &[i64; 23]) -> Registers {
    let register = |number: c_int| registers[number as usize] as u64;
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

/// The instruction at `pc` and what follows it in its page.
fn code_at(pc: u64, buffer: &mut [u8; CODE_BYTES]) -> &[u8] {
    let pc = pc as usize;
    let len = CODE_BYTES.min(PAGE_BYTES - pc % PAGE_BYTES);
    let code: *const u8 = core::ptr::with_exposed_provenance(pc);
    // SAFETY: the processor has just executed there, so the page is mapped; programs' code can be read.
    unsafe { core::ptr::copy_nonoverlapping(code, buffer.as_mut_ptr(), len) };
    &buffer[..len]
}

/// The fault is not ours: what the kernel would do with the program's action.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, is_fault: bool) {
    let action = PROGRAM.get();
    match action.handler {
        SIG_IGN if !is_fault => {}
        SIG_DFL | SIG_IGN => die(signal, is_fault),
        handler => {
            if action.flags & SA_RESETHAND as u64 != 0 {
                exchange_action(Some(Action { handler: SIG_DFL, flags: 0, mask: 0 }));
            }
            mask_as_for(&action, context);
            // SAFETY: the program's handler; one of fewer arguments ignores the rest (System V ABI, AMD64, 3.2.3).
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { core::mem::transmute(handler) };
            handler(signal, info, context);
        }
    }
}

/// The mask that the program's handler runs with. The kernel restores the old one when the handler returns.
fn mask_as_for(action: &Action, context: *mut c_void) {
    // SAFETY: the kernel's context.
    let interrupted: *const libc::sigset_t = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_sigmask };
    // SAFETY: the first eight bytes of the set are the kernel's.
    let interrupted = unsafe { interrupted.cast::<u64>().read() };
    let own = if action.flags & SA_NODEFER as u64 != 0 { 0 } else { 1 << (SIGSEGV - 1) };
    let mask = interrupted | action.mask | own;
    // SAFETY: a set of the size that the kernel has.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            core::ptr::null_mut::<u64>(),
            SIGNAL_SET_BYTES,
        )
    };
}

/// Sets the default action and returns to the instruction that faulted, so that the process dies of it; a signal that was sent is sent again.
fn die(signal: c_int, is_fault: bool) {
    let send = |signal: c_int| {
        let process = hk_os::Linux.process_id();
        // SAFETY: a signal to the calling thread.
        unsafe { libc::syscall(libc::SYS_tgkill, process, hk_recorder::tid(), signal) };
    };
    if !has_default_action() {
        // A sandbox forbids it: the fault would come back for ever.
        send(libc::SIGKILL);
        // SAFETY: ends the process, as a shell tells of one that this signal ended.
        unsafe { libc::syscall(libc::SYS_exit_group, 128 + signal) };
    }
    if !is_fault {
        send(signal);
    }
}

/// Sets the default action; false if that is refused.
fn has_default_action() -> bool {
    exchange_kernel_action(SIGSEGV, Some(KernelAction::default())).is_some()
}

/// Signal stacks are as small as the program's handlers need; a report needs more.
const STACK_BYTES: usize = 64 << 10;

#[repr(C, align(4096))]
struct Stack(core::cell::UnsafeCell<[u8; STACK_BYTES]>);

// SAFETY: used by one thread at a time: see `STACK_USER`.
unsafe impl Sync for Stack {}

static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; STACK_BYTES]));
/// The thread that is on it, or 0.
static STACK_USER: AtomicU32 = AtomicU32::new(0);

/// In a fork child whoever was on it is not there.
pub(crate) fn forget_others() {
    STACK_USER.store(0, Ordering::Relaxed);
}

/// Calls `work` on a stack that is large enough: the present one, or, if that is a small signal stack, one of our own.
fn on_large_stack<W: FnOnce() -> bool>(context: *mut c_void, work: W) -> bool {
    // SAFETY: the kernel's context.
    let stack = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_stack };
    let here = (&raw const stack).addr();
    let is_on_it = here.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size;
    let me = hk_recorder::tid();
    if !is_on_it || stack.ss_size >= STACK_BYTES || STACK_USER.load(Ordering::Relaxed) == me {
        return work();
    }
    while STACK_USER.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
        core::hint::spin_loop();
    }
    // The kernel tells by the stack pointer whether the signal stack is in use: another fault would be put over this one.
    let none = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    set_signal_stack(&none);
    let mut call = Call0 { work: Some(work), result: false };
    let top = STACK.0.get().addr() + STACK_BYTES;
    let function: extern "C" fn(*mut c_void) = run::<W>;
    // SAFETY: the stack is ours alone while we are its user; `run` returns, and gets a valid call.
    unsafe { call_on((&raw mut call).cast(), function, top) };
    STACK_USER.store(0, Ordering::Release);
    set_signal_stack(&libc::stack_t { ss_flags: 0, ..*stack });
    call.result
}

fn set_signal_stack(stack: &libc::stack_t) {
    let stack: *const libc::stack_t = stack;
    // SAFETY: a stack that the thread had, or none; nobody is on it but what goes on when the handler returns.
    unsafe { libc::syscall(libc::SYS_sigaltstack, stack, core::ptr::null_mut::<libc::stack_t>()) };
}

struct Call0<W> {
    work: Option<W>,
    result: bool,
}

extern "C" fn run<W: FnOnce() -> bool>(call: *mut c_void) {
    // SAFETY: from `on_large_stack`, which waits for this.
    let call = unsafe { &mut *call.cast::<Call0<W>>() };
    call.result = call.work.take().is_some_and(|work| work());
}

/// Calls `function` with `argument` on the stack that ends at `top`.
///
/// # Safety
/// The stack is large enough and nobody else's; the function returns.
unsafe fn call_on(argument: *mut c_void, function: extern "C" fn(*mut c_void), top: usize) {
    // SAFETY: the old stack pointer waits in a register that functions preserve; the rest is the caller's word.
    unsafe {
        core::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {function}",
            "mov rsp, r12",
            top = in(reg) top,
            function = in(reg) function,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}
