//! Whether the program has signal handlers.
//!
//! A handler may call malloc between any two instructions of malloc. The heap takes more care while there is
//! one ([`hk_heap::Heap::expect_signals`]), so the functions that install handlers are looked at here, and passed on unchanged.
//! Handlers installed by a bare system call go unseen.

use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use libc::{SIG_DFL, SIG_ERR, SIG_IGN, c_int, sighandler_t};

type SigAction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;
type Signal = unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t;

static NEXT_SIGACTION: Next = Next::new(c"sigaction");
static NEXT_SIGNAL: Next = Next::new(c"signal");
static NEXT_SYSV_SIGNAL: Next = Next::new(c"sysv_signal");
static NEXT_SIGSET: Next = Next::new(c"sigset");

/// Whether a handler was ever installed, also by constructors that ran before ours. exec leaves none.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// At the start.
pub fn begin() {
    PROCESS.heap().expect_signals(INSTALLED.load(Ordering::Relaxed));
}

fn note_handler() {
    INSTALLED.store(true, Ordering::Relaxed);
    PROCESS.heap().expect_signals(true);
}

fn is_function(handler: sighandler_t) -> bool {
    handler != SIG_DFL && handler != SIG_IGN && handler != SIG_ERR
}

fn next_sigaction() -> SigAction {
    let next: *mut c_void = NEXT_SIGACTION.get();
    // SAFETY: the address of libc's sigaction.
    unsafe { core::mem::transmute(next) }
}

#[unsafe(no_mangle)]
extern "C" fn sigaction(signal: c_int, action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    // SAFETY: null, or the caller's action.
    if let Some(action) = unsafe { action.as_ref() }
        && is_function(action.sa_sigaction)
    {
        note_handler();
    }
    // SAFETY: the caller's arguments.
    unsafe { next_sigaction()(signal, action, old) }
}

/// The same under a name that glibc exports too.
#[unsafe(no_mangle)]
extern "C" fn __sigaction(signal: c_int, action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    sigaction(signal, action, old)
}

fn install(next: &Next, signal: c_int, handler: sighandler_t) -> sighandler_t {
    if is_function(handler) {
        note_handler();
    }
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Signal = unsafe { core::mem::transmute(next.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(signal, handler) }
}

#[unsafe(no_mangle)]
extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler)
}

#[unsafe(no_mangle)]
extern "C" fn bsd_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler)
}

#[unsafe(no_mangle)]
extern "C" fn ssignal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler)
}

#[unsafe(no_mangle)]
extern "C" fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SYSV_SIGNAL, signal, handler)
}

#[unsafe(no_mangle)]
extern "C" fn __sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SYSV_SIGNAL, signal, handler)
}

#[unsafe(no_mangle)]
extern "C" fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGSET, signal, handler)
}
