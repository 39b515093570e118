//! system(3) and popen(3): libc starts their shell from inside, past the wrappers of [`crate::exec`].
//!
//! The shell inherits the environment as it is. That is the right one, unless the program took our variables out (clearenv): then they
//! are put in for the length of the call. Who looks at the environment meanwhile sees two variables more; who changes it keeps what he
//! made of it.

use crate::exec_environment::{Entries, current, set_current, with_environment};
use crate::next::Next;
use crate::system_calls::text_goes_out;
use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::c_int;

type System = unsafe extern "C" fn(*const c_char) -> c_int;
type Popen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;

static NEXT_SYSTEM: Next = Next::new(c"system");
static NEXT_POPEN: Next = Next::new(c"popen");

/// The environment that was put in last. Whoever met it may hold on to it, so it is never freed, and used again while it is right.
static KEPT: AtomicPtr<*const c_char> = AtomicPtr::new(null_mut());

/// The entry with this number, or the NULL behind the last.
fn entry(entries: Entries, at: usize) -> *const c_char {
    // SAFETY: callers stay at or below the terminator.
    unsafe { *entries.wrapping_add(at) }
}

/// Number of entries. Reads no entry's text: those of an old environment may be gone.
fn count(entries: Entries) -> usize {
    (0..).take_while(|&at| !entry(entries, at).is_null()).count()
}

/// A copy of an environment of [`with_environment`]'s, which is on this stack, that lasts. None if there is no memory.
fn keep(entries: Entries) -> Option<Entries> {
    let count = count(entries);
    // The variables that are put in are the last two: LD_PRELOAD's text may be on this stack as well.
    let preload_at = count.checked_sub(2)?;
    // SAFETY: entries are C strings.
    let preload = unsafe { CStr::from_ptr(entry(entries, preload_at)) }.to_bytes_with_nul();
    let kept: Entries = KEPT.load(Ordering::Acquire);
    if is_same(kept, entries, count, preload) {
        return Some(kept);
    }
    let array_bytes = (count + 1) * size_of::<*const c_char>();
    let copy = map(array_bytes + preload.len())?;
    let text = copy.wrapping_add(array_bytes);
    // SAFETY: the mapping has room for the text behind the array.
    unsafe { preload.as_ptr().copy_to_nonoverlapping(text, preload.len()) };
    let copy: *mut *const c_char = copy.cast();
    // SAFETY: the mapping has room for the array, its terminator included.
    unsafe { entries.copy_to_nonoverlapping(copy, count + 1) };
    // SAFETY: a place in the array.
    unsafe { copy.wrapping_add(preload_at).write(text.cast()) };
    // Release: who sees the array sees what is in it.
    KEPT.store(copy, Ordering::Release);
    Some(copy.cast_const())
}

fn is_same(kept: Entries, entries: Entries, len: usize, preload: &[u8]) -> bool {
    if kept.is_null() || count(kept) != len {
        return false;
    }
    (0..len).all(|at| {
        let (old, new) = (entry(kept, at), entry(entries, at));
        // SAFETY: of what was kept, this text was copied by `keep`.
        old == new || at == len - 2 && unsafe { CStr::from_ptr(old) }.to_bytes_with_nul() == preload
    })
}

fn map(bytes: usize) -> Option<*mut u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
    let place = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    (place != libc::MAP_FAILED).then(|| place.cast())
}

/// Calls `start` with our variables in the environment.
fn with_variables(start: &dyn Fn()) {
    let before = current();
    with_environment(before, true, &|entries| {
        let kept = if entries == before { None } else { keep(entries) };
        if let Some(kept) = kept {
            set_current(kept);
        }
        start();
        if kept.is_some_and(|kept| current() == kept) {
            set_current(before);
        }
        0
    });
}

#[unsafe(no_mangle)]
extern "C" fn system(command: *const c_char) -> c_int {
    text_goes_out(command);
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
    text_goes_out(command);
    let result = Cell::new(null_mut());
    with_variables(&|| {
        // SAFETY: the address of libc's popen.
        let next: Popen = unsafe { core::mem::transmute(NEXT_POPEN.get()) };
        // SAFETY: the caller's arguments.
        result.set(unsafe { next(command, mode) });
    });
    result.get()
}
