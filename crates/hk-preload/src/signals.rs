//! Whether the program has signal handlers.
//!
//! A handler may call malloc between any two instructions of malloc. The heap takes more care while there is
//! one ([`hk_heap::Heap::expect_signals`]), so the functions that install handlers are looked at here, and passed on unchanged.
//! Handlers installed by a bare system call go unseen.
//!
//! While blocks are guarded SIGSEGV is ours ([`heapkeeper::guarding::trap`]): what the program does with it is kept and answered there; see
//! [`crate::signal_masks`], too.

use crate::host::PROCESS;
use crate::next::Next;
use crate::signal_masks;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use heapkeeper::guarding::trap::{self, Action};
use libc::{SIG_DFL, SIG_ERR, SIG_IGN, SIGSEGV, c_int, sighandler_t, sigset_t};

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
    // Later they may be wanted where a look-up may not be made.
    NEXT_SIGACTION.look_up();
    signal_masks::look_up();
    PROCESS.expect_signals(INSTALLED.load(Ordering::Relaxed));
}

fn note_handler() {
    INSTALLED.store(true, Ordering::Relaxed);
    PROCESS.expect_signals(true);
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
    if is_kept(signal) {
        return exchange(action, old);
    }
    // SAFETY: null, or the caller's action.
    let Some(mut action) = unsafe { action.as_ref() }.copied() else {
        // SAFETY: the caller's arguments.
        return unsafe { next_sigaction()(signal, action, old) };
    };
    if trap::is_installed() {
        take_out(&mut action.sa_mask);
    }
    // SAFETY: the caller's arguments, but for SIGSEGV.
    unsafe { next_sigaction()(signal, &raw const action, old) }
}

/// Whether a signal's action is kept here: that of SIGSEGV, while blocks are guarded. What a vfork child sets is its own affair, not its
/// parent's, whose memory it shares.
fn is_kept(signal: c_int) -> bool {
    signal == SIGSEGV && trap::is_installed() && PROCESS.heap().is_own()
}

/// sigaction for SIGSEGV while that is ours.
fn exchange(action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    // SAFETY: null, or the caller's action.
    let new = unsafe { action.as_ref() }.map(|action| Action {
        handler: action.sa_sigaction,
        flags: action.sa_flags as u64,
        mask: first_word(&action.sa_mask),
    });
    let before = trap::exchange_action(new);
    // SAFETY: null, or the caller's place.
    if let Some(old) = unsafe { old.as_mut() } {
        // SAFETY: all-zero is a valid value.
        *old = unsafe { core::mem::zeroed() };
        old.sa_sigaction = before.handler;
        old.sa_flags = before.flags as c_int;
        set_first_word(&mut old.sa_mask, before.mask);
    }
    0
}

/// The signals that the kernel knows: 1 to 64.
fn first_word(set: &sigset_t) -> u64 {
    let set: *const sigset_t = set;
    // SAFETY: a set is larger than a word, and aligned to one.
    unsafe { set.cast::<u64>().read() }
}

fn set_first_word(set: &mut sigset_t, word: u64) {
    let set: *mut sigset_t = set;
    // SAFETY: as above.
    unsafe { set.cast::<u64>().write(word) };
}

/// Takes SIGSEGV out of a set.
pub(crate) fn take_out(set: &mut sigset_t) {
    let word = first_word(set);
    set_first_word(set, word & !(1 << (SIGSEGV - 1)));
}

/// The same under a name that glibc exports too.
#[unsafe(no_mangle)]
extern "C" fn __sigaction(signal: c_int, action: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    sigaction(signal, action, old)
}

fn install(next: &Next, signal: c_int, handler: sighandler_t, flags: c_int) -> sighandler_t {
    if is_function(handler) {
        note_handler();
    }
    // To hold a signal back is no action (sigset(3)), and this one is not held back.
    if is_kept(signal) && handler == SIG_HOLD {
        return trap::exchange_action(None).handler;
    }
    if is_kept(signal) {
        let action = Action { handler, flags: flags as u64, mask: 0 };
        return trap::exchange_action(Some(action)).handler;
    }
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Signal = unsafe { core::mem::transmute(next.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(signal, handler) }
}

/// BSD's signal: the handler stays, and interrupted calls go on. System V's: it is used once, and may interrupt itself (signal(2)).
const BSD: c_int = libc::SA_RESTART;
const SYSTEM_V: c_int = libc::SA_RESETHAND | libc::SA_NODEFER;
/// signal.h of glibc.
const SIG_HOLD: sighandler_t = 2;

#[unsafe(no_mangle)]
extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler, BSD)
}

#[unsafe(no_mangle)]
extern "C" fn bsd_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler, BSD)
}

#[unsafe(no_mangle)]
extern "C" fn ssignal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGNAL, signal, handler, BSD)
}

#[unsafe(no_mangle)]
extern "C" fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SYSV_SIGNAL, signal, handler, SYSTEM_V)
}

#[unsafe(no_mangle)]
extern "C" fn __sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SYSV_SIGNAL, signal, handler, SYSTEM_V)
}

#[unsafe(no_mangle)]
extern "C" fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t {
    install(&NEXT_SIGSET, signal, handler, 0)
}
