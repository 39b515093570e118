//! What a thread does when it is told to stop.

use super::super::bare::{KernelAction, exchange_kernel_action, system_call};
use super::{GATE, restart};
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// SIGSETXID of glibc (sysdeps/unix/sysv/linux/internal-signals.h).
pub(crate) const SIGNAL: c_int = 33;
/// Of the signal's value, to tell it from what others may send by the same call.
const MARK: usize = 0x484B << 48;
const SLOT_SHIFT: usize = 32;

/// Of a signal that was sent with a value (rt_sigqueueinfo(2)).
#[repr(C)]
struct Info {
    signal: c_int,
    errno: c_int,
    code: c_int,
    filler: c_int,
    pid: c_int,
    uid: c_int,
    value: usize,
    rest: [u64; 12],
}
const _: () = assert!(size_of::<Info>() == size_of::<libc::siginfo_t>());

/// Whose handler was there.
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);

/// A thread has a stack for signals that has no room for one's frame and our handler: then the signal is handled on the stack that is in use, as glibc's own
/// handler of it does. Where there is none a thread's stack may be the smaller one (coroutines, Go).
static HAS_SMALL_STACKS: AtomicBool = AtomicBool::new(false);
/// What the handler itself takes.
const HANDLER_BYTES: usize = 2048;

/// A thread is about to ask for a stack for signals. What the kernel is going to refuse, or takes for none at all, does not count (sigaltstack(2)).
pub fn note_signal_stack(stack: &libc::stack_t) {
    const AUTODISARM: c_int = 1 << 31;
    let is_one = matches!(stack.ss_flags & !AUTODISARM, 0 | libc::SS_ONSTACK);
    // SAFETY: takes any number. It tells how large a frame is here (AT_MINSIGSTKSZ, Linux 5.14).
    let frame_bytes = (unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize).max(libc::MINSIGSTKSZ);
    if is_one && (libc::MINSIGSTKSZ..frame_bytes + HANDLER_BYTES).contains(&stack.ss_size) {
        HAS_SMALL_STACKS.store(true, Ordering::Relaxed);
    }
}

/// Where a stopped thread stands: its registers, as the kernel laid them down when it was interrupted.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    address: usize,
    thread: u32,
}

impl Context {
    pub(super) fn new(address: usize, thread: u32) -> Self {
        Context { address, thread }
    }

    /// The thread's id.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// The instruction that it stands at.
    pub fn instruction(&self) -> usize {
        self.user().uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    }

    fn user(&self) -> &libc::ucontext_t {
        let context: *const libc::ucontext_t = core::ptr::with_exposed_provenance(self.address);
        // SAFETY: the thread waits in its handler, below which this lies.
        unsafe { &*context }
    }

    /// Its stack pointer.
    pub fn stack_pointer(&self) -> usize {
        self.user().uc_mcontext.gregs[libc::REG_RSP as usize] as usize
    }

    /// What it has for handlers of signals.
    pub fn signal_stack(&self) -> SignalStack {
        SignalStack::new(&self.user().uc_stack)
    }

    /// Start and bytes of its registers, the general ones and those of vectors. The latter only as far as every processor has them: wider ones hold
    /// copies of their lower halves for whoever moves pointers by them.
    pub fn registers(&self) -> [(usize, usize); 2] {
        let context = self.user();
        let general = (&raw const context.uc_mcontext.gregs).addr();
        let vectors = context.uc_mcontext.fpregs.addr();
        let vector_bytes = if vectors == 0 { 0 } else { extended_bytes(vectors) };
        [(general, size_of_val(&context.uc_mcontext.gregs)), (vectors, vector_bytes)]
    }
}

/// A stack of a thread for handlers of signals (sigaltstack(2)); of no bytes if it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalStack {
    start: usize,
    bytes: usize,
}

impl SignalStack {
    fn new(stack: &libc::stack_t) -> Self {
        if stack.ss_flags & libc::SS_DISABLE != 0 {
            return SignalStack::default();
        }
        SignalStack { start: stack.ss_sp.addr(), bytes: stack.ss_size }
    }

    /// That of the calling thread.
    pub fn of_calling_thread() -> Self {
        let mut stack = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: nothing new, and a place for what there is.
        unsafe { system_call(libc::SYS_sigaltstack, [0, (&raw mut stack).addr(), 0, 0, 0, 0]) };
        SignalStack::new(&stack)
    }

    /// Whether a stack pointer stands there. At its end nothing of it is in use yet.
    pub fn contains(&self, pointer: usize) -> bool {
        pointer.wrapping_sub(self.start) < self.bytes
    }
}

/// Bytes of the state of vectors in a signal's frame: `sw_reserved` of `struct _fpstate` says how many there are (asm/sigcontext.h).
fn extended_bytes(vectors: usize) -> usize {
    const LEGACY_BYTES: usize = 512;
    const SOFTWARE_AT: usize = 464;
    const MAGIC: u32 = 0x4650_5853;
    let words: *const u32 = core::ptr::with_exposed_provenance(vectors + SOFTWARE_AT);
    // SAFETY: the frame has the legacy area at least.
    let magic = unsafe { words.read() };
    // SAFETY: as above.
    let bytes = unsafe { words.wrapping_add(4).read() };
    if magic == MAGIC { (bytes as usize).clamp(LEGACY_BYTES, 16 << 10) } else { LEGACY_BYTES }
}

/// Puts the handler in place, if it is not. False if the system refuses.
pub(super) fn install() -> bool {
    let ours: extern "C" fn(c_int, *const Info, *mut c_void) = on_signal;
    let Some(present) = exchange_kernel_action(SIGNAL, None) else { return false };
    if present.handler == ours as usize {
        return true;
    }
    PREVIOUS.store(present.handler, Ordering::Release);
    let on_stack = if HAS_SMALL_STACKS.load(Ordering::Relaxed) { 0 } else { libc::SA_ONSTACK };
    let flags = (libc::SA_SIGINFO | libc::SA_RESTART | on_stack) as u64;
    exchange_kernel_action(SIGNAL, Some(KernelAction::handled_by(ours as usize, flags, !0))).is_some()
}

/// What became of a signal.
pub(super) enum Sent {
    Yes,
    /// There is no such thread any more.
    Gone,
    Refused,
}

/// Sends a thread the signal.
pub(super) fn send(thread: u32, epoch: u32, slot: usize) -> Sent {
    // SAFETY: no arguments.
    let process = unsafe { system_call(libc::SYS_getpid, [0; 6]) };
    let value = MARK | slot << SLOT_SHIFT | epoch as usize;
    let info = Info {
        signal: SIGNAL,
        errno: 0,
        code: libc::SI_QUEUE,
        filler: 0,
        pid: process as c_int,
        uid: 0,
        value,
        rest: [0; 12],
    };
    let arguments = [process as usize, thread as usize, SIGNAL as usize, (&raw const info).addr(), 0, 0];
    // SAFETY: the kernel reads the description.
    match unsafe { system_call(libc::SYS_rt_tgsigqueueinfo, arguments) } {
        0 => Sent::Yes,
        error if error == -(libc::ESRCH as isize) => Sent::Gone,
        _ => Sent::Refused,
    }
}

/// Needs nothing of libc's: the thread may be one that libc does not know of.
extern "C" fn on_signal(signal: c_int, info: *const Info, context: *mut c_void) {
    // SAFETY: the kernel gives it.
    let (code, value) = unsafe { (*info).sent() };
    if code != libc::SI_QUEUE || value & MARK != MARK {
        return hand_on(signal, info, context);
    }
    let slot = value >> SLOT_SHIFT & 0xFFFF;
    GATE.pass(value as u32, slot, context.expose_provenance());
    // SAFETY: the kernel gives it, to this handler alone.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    // SAFETY: that of this handler.
    unsafe { restart::resume(context) };
}

impl Info {
    fn sent(&self) -> (c_int, usize) {
        (self.code, self.value)
    }
}
const _: () = assert!(offset_of!(Info, value) == 24);

/// glibc's own.
fn hand_on(signal: c_int, info: *const Info, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    if previous == libc::SIG_DFL || previous == libc::SIG_IGN {
        return;
    }
    let handler: *const c_void = core::ptr::with_exposed_provenance(previous);
    // SAFETY: the address of a handler that was installed for this signal, with a description as its second argument.
    let handler: extern "C" fn(c_int, *const Info, *mut c_void) = unsafe { core::mem::transmute(handler) };
    handler(signal, info, context);
}
