//! fread and fwrite: large ones hand the program's buffer to the system inside libc, where a guard makes them fail, and no trap tells. All
//! other functions of streams copy, so that the processor sees it.

use crate::host::PROCESS;
use crate::next::{Next, unless_foreign};
use core::ffi::c_void;
use libc::{FILE, size_t};

type Transfer = unsafe extern "C" fn(*mut c_void, size_t, size_t, *mut FILE) -> size_t;

static NEXT_FREAD: Next = Next::new(c"fread");
static NEXT_FREAD_UNLOCKED: Next = Next::new(c"fread_unlocked");
static NEXT_FWRITE: Next = Next::new(c"fwrite");
static NEXT_FWRITE_UNLOCKED: Next = Next::new(c"fwrite_unlocked");

unless_foreign! {
    fread => our_fread, NEXT_FREAD;
    fread_unlocked => our_fread_unlocked, NEXT_FREAD_UNLOCKED;
    fwrite => our_fwrite, NEXT_FWRITE;
    fwrite_unlocked => our_fwrite_unlocked, NEXT_FWRITE_UNLOCKED;
    __fread_chk => our_fread_chk, NEXT_FREAD_CHK;
    __fread_unlocked_chk => our_fread_unlocked_chk, NEXT_FREAD_UNLOCKED_CHK;
}

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

/// As in [`crate::system_calls`].
#[inline]
fn read(next: &Next, buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    if !PROCESS.may_be_guarded(buffer.cast()) || bytes == 0 || count == 0 {
        return transfer(next, buffer, bytes, count, stream);
    }
    let incoming = PROCESS.before_incoming(buffer.cast(), bytes.saturating_mul(count));
    let came = transfer(next, buffer, bytes, count, stream);
    PROCESS.after_incoming(&incoming, bytes.saturating_mul(came));
    came
}

#[inline]
fn write(next: &Next, buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_outgoing(buffer.cast(), bytes.saturating_mul(count));
    }
    transfer(next, buffer, bytes, count, stream)
}

extern "C" fn our_fread(buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    read(&NEXT_FREAD, buffer, bytes, count, stream)
}

extern "C" fn our_fread_unlocked(
    buffer: *mut c_void,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    read(&NEXT_FREAD_UNLOCKED, buffer, bytes, count, stream)
}

extern "C" fn our_fwrite(buffer: *mut c_void, bytes: size_t, count: size_t, stream: *mut FILE) -> size_t {
    write(&NEXT_FWRITE, buffer, bytes, count, stream)
}

extern "C" fn our_fwrite_unlocked(
    buffer: *mut c_void,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    write(&NEXT_FWRITE_UNLOCKED, buffer, bytes, count, stream)
}

/// The same for programs that were compiled with checks (_FORTIFY_SOURCE): `room` is what the compiler knows of the buffer.
extern "C" fn our_fread_chk(
    buffer: *mut c_void,
    room: size_t,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    checked(&NEXT_FREAD_CHK, &NEXT_FREAD, buffer, room, bytes, count, stream)
}

/// As above.
extern "C" fn our_fread_unlocked_chk(
    buffer: *mut c_void,
    room: size_t,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    checked(&NEXT_FREAD_UNLOCKED_CHK, &NEXT_FREAD_UNLOCKED, buffer, room, bytes, count, stream)
}

static NEXT_FREAD_CHK: Next = Next::new(c"__fread_chk");
static NEXT_FREAD_UNLOCKED_CHK: Next = Next::new(c"__fread_unlocked_chk");

/// What does not fit is for libc's function, which ends the process.
fn checked(
    next_checked: &Next,
    next: &Next,
    buffer: *mut c_void,
    room: size_t,
    bytes: size_t,
    count: size_t,
    stream: *mut FILE,
) -> size_t {
    type Checked = unsafe extern "C" fn(*mut c_void, size_t, size_t, size_t, *mut FILE) -> size_t;
    if bytes.checked_mul(count).is_some_and(|all| all <= room) {
        return read(next, buffer, bytes, count, stream);
    }
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Checked = unsafe { core::mem::transmute(next_checked.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(buffer, room, bytes, count, stream) }
}
