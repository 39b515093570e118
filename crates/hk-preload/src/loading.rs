//! Libraries that come and go: what is known of code addresses is found anew afterwards.

use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::{c_char, c_void};
use libc::c_int;

static NEXT_DLCLOSE: Next = Next::new(c"dlclose");
static NEXT_DLOPEN: Next = Next::new(c"dlopen");
static NEXT_DLMOPEN: Next = Next::new(c"dlmopen");

/// At the start, as [`crate::system_calls::begin`].
pub fn begin() {
    for next in [&NEXT_DLCLOSE, &NEXT_DLOPEN, &NEXT_DLMOPEN] {
        next.look_up();
    }
}

/// Tells that code may come where none was; gives libc's dlopen.
extern "C" fn before_dlopen() -> *mut c_void {
    PROCESS.modules_loaded();
    NEXT_DLOPEN.get()
}

/// The same for dlmopen.
extern "C" fn before_dlmopen() -> *mut c_void {
    PROCESS.modules_loaded();
    NEXT_DLMOPEN.get()
}

/// Goes on to libc's function as if that had been called: it looks for libraries by who called it (RUNPATH, $ORIGIN; dlopen(3)).
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {before}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        before = sym before_dlopen,
    )
}

/// As above.
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn dlmopen(space: isize, name: *const c_char, flags: c_int) -> *mut c_void {
    core::arch::naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx",
        "call {before}",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp rax",
        before = sym before_dlmopen,
    )
}

#[unsafe(no_mangle)]
extern "C" fn dlclose(library: *mut c_void) -> c_int {
    type Close = unsafe extern "C" fn(*mut c_void) -> c_int;
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Close = unsafe { core::mem::transmute(NEXT_DLCLOSE.get()) };
    // Before, for the destructors that it runs; and after, for the addresses that are free then.
    PROCESS.modules_changed();
    // SAFETY: the caller's argument.
    let result = unsafe { next(library) };
    PROCESS.modules_changed();
    result
}
