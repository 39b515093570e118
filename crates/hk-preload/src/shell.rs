//! system(3) and popen(3): libc starts their shell from inside, past the wrappers of [`crate::exec`].
//!
//! The shell inherits the environment as it is. That is the right one, unless the program took our variables out (clearenv): then they
//! are put in for the length of the call. Who looks at the environment meanwhile sees two variables more; who changes it keeps what he
//! made of it.

use crate::exec_environment::{current, set_current, with_environment};
use crate::next::Next;
use core::cell::Cell;
use core::ffi::{c_char, c_void};
use core::ptr::null_mut;
use libc::c_int;

type System = unsafe extern "C" fn(*const c_char) -> c_int;
type Popen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;

static NEXT_SYSTEM: Next = Next::new(c"system");
static NEXT_POPEN: Next = Next::new(c"popen");

/// Calls `start` with our variables in the environment.
fn with_variables(start: &dyn Fn()) {
    let before = current();
    with_environment(before, true, &|entries| {
        if entries == before {
            start();
            return 0;
        }
        set_current(entries);
        start();
        if current() == entries {
            set_current(before);
        }
        0
    });
}

#[unsafe(no_mangle)]
extern "C" fn system(command: *const c_char) -> c_int {
    let result = Cell::new(-1);
    with_variables(&|| {
        // SAFETY: the address of libc's system.
        let next: System = unsafe { core::mem::transmute(NEXT_SYSTEM.get()) };
        // SAFETY: the caller's argument.
        result.set(unsafe { next(command) });
    });
    result.get()
}

#[unsafe(no_mangle)]
extern "C" fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void {
    let result = Cell::new(null_mut());
    with_variables(&|| {
        // SAFETY: the address of libc's popen.
        let next: Popen = unsafe { core::mem::transmute(NEXT_POPEN.get()) };
        // SAFETY: the caller's arguments.
        result.set(unsafe { next(command, mode) });
    });
    result.get()
}
