//! fread and fwrite: large ones hand the program's buffer to the system inside libc, where a guard makes them fail, and no trap tells. All
//! other functions of streams copy, so that the processor sees it.

use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::c_void;
use libc::{FILE, size_t};

type Transfer = unsafe extern "C" fn(*mut c_void, size_t, size_t, *mut FILE) -> size_t;

static NEXT_FREAD: Next = Next::new(c"fread");
static NEXT_FREAD_UNLOCKED: Next = Next::new(c"fread_unlocked");
static NEXT_FWRITE: Next = Next::new(c"fwrite");
static NEXT_FWRITE_UNLOCKED: Next = Next::new(c"fwrite_unlocked");

/// At the start, as [`crate::system_calls::begin`].
pub fn begin() {
    for next in [&NEXT_FREAD, &NEXT_FREAD_UNLOCKED, &NEXT_FWRITE, &NEXT_FWRITE_UNLOCKED] {
        next.look_up();
    }
}

fn transfer(next: &Next, buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Transfer = unsafe { core::mem::transmute(next.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(buffer, bytes, count, stream) }
}

/// What comes in is looked at beforehand where the buffer is no block's at all, and otherwise for as much as came: programs may offer more
/// room than they have, and know that less will come.
#[inline]
fn read(next: &Next, buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    if !PROCESS.may_be_guarded(buffer.cast()) {
        return transfer(next, buffer, bytes, count, stream);
    }
    PROCESS.check_buffer(buffer.cast(), bytes.saturating_mul(count).min(1), true);
    let came = transfer(next, buffer, bytes, count, stream);
    PROCESS.check_buffer(buffer.cast(), bytes.saturating_mul(came), true);
    came
}

#[inline]
fn write(next: &Next, buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_buffer(buffer.cast(), bytes.saturating_mul(count), false);
    }
    transfer(next, buffer, bytes, count, stream)
}

#[unsafe(no_mangle)]
extern "C" fn fread(buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    read(&NEXT_FREAD, buffer, bytes, count, stream)
}

#[unsafe(no_mangle)]
extern "C" fn fread_unlocked(buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    read(&NEXT_FREAD_UNLOCKED, buffer, bytes, count, stream)
}

#[unsafe(no_mangle)]
extern "C" fn fwrite(buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    write(&NEXT_FWRITE, buffer, bytes, count, stream)
}

#[unsafe(no_mangle)]
extern "C" fn fwrite_unlocked(
    buffer: *mut c_void,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    write(&NEXT_FWRITE_UNLOCKED, buffer, bytes, count, stream)
}
