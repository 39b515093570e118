//! System calls that are given buffers. At a guard the kernel answers EFAULT, or does a part, and no trap tells: so buffers of guarded
//! blocks are looked at here. What goes out is looked at before the call, as its length is what is read; what comes in, afterwards, for as much
//! as came, as programs may offer more room than they have and know that less will come.
//!
//! All other calls, and all calls while nothing is guarded, are passed on unchanged. The functions stay cancellation points, as those behind them are.

use crate::host::PROCESS;
use crate::next::Next;
use hk_os::Errno;
use libc::{EFAULT, c_int, c_void, iovec, msghdr, off_t, size_t, sockaddr, socklen_t, ssize_t};

unsafe extern "C" {
    fn __read(file: c_int, buffer: *mut c_void, bytes: size_t) -> ssize_t;
    fn __write(file: c_int, buffer: *const c_void, bytes: size_t) -> ssize_t;
    fn __pread64(file: c_int, buffer: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t;
    fn __pwrite64(file: c_int, buffer: *const c_void, bytes: size_t, offset: off_t) -> ssize_t;
    fn __send(file: c_int, buffer: *const c_void, bytes: size_t, flags: c_int) -> ssize_t;
}

static NEXT_RECV: Next = Next::new(c"recv");
static NEXT_RECVFROM: Next = Next::new(c"recvfrom");
static NEXT_SENDTO: Next = Next::new(c"sendto");
static NEXT_READV: Next = Next::new(c"readv");
static NEXT_WRITEV: Next = Next::new(c"writev");
static NEXT_RECVMSG: Next = Next::new(c"recvmsg");
static NEXT_SENDMSG: Next = Next::new(c"sendmsg");

/// At the start: a look-up may allocate, and these functions may be called in signal handlers.
pub fn begin() {
    for next in
        [&NEXT_RECV, &NEXT_RECVFROM, &NEXT_SENDTO, &NEXT_READV, &NEXT_WRITEV, &NEXT_RECVMSG, &NEXT_SENDMSG]
    {
        next.look_up();
    }
}

/// Looks at what is about to be read from a buffer.
#[inline]
fn goes_out(buffer: *const c_void, bytes: size_t) {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_buffer(buffer.cast(), bytes, false);
    }
}

/// Makes a call that writes to a buffer, and looks at as much as came; once more, with the guards away, if they kept it from working.
#[inline]
fn comes_in(buffer: *const c_void, bytes: size_t, call: impl Fn() -> ssize_t) -> ssize_t {
    if !PROCESS.may_be_guarded(buffer.cast()) {
        return call();
    }
    match call() {
        -1 if Errno::get() == EFAULT => {
            PROCESS.check_buffer(buffer.cast(), bytes, true);
            call()
        }
        came => {
            PROCESS.check_buffer(buffer.cast(), came.max(0) as size_t, true);
            came
        }
    }
}

/// The same for several buffers, of which `came` bytes were filled.
fn check_vector(vector: *const iovec, count: usize, mut bytes: usize, writes: bool) {
    for nth in 0..count {
        // SAFETY: the caller gives so many, which the kernel has read too.
        let part = unsafe { vector.wrapping_add(nth).read() };
        let len = part.iov_len.min(bytes);
        bytes -= len;
        if len > 0 && PROCESS.may_be_guarded(part.iov_base.cast()) {
            PROCESS.check_buffer(part.iov_base.cast(), len, writes);
        }
    }
}

/// A call with several buffers. What goes out is looked at when the call has failed, as the vector itself may be bad.
fn vector(vector: *const iovec, count: usize, writes: bool, call: impl Fn() -> ssize_t) -> ssize_t {
    match call() {
        -1 if Errno::get() == EFAULT && count <= libc::UIO_MAXIOV as usize && is_readable(vector, count) => {
            check_vector(vector, count, usize::MAX, writes);
            call()
        }
        came if came > 0 => {
            check_vector(vector, count, came as usize, writes);
            came
        }
        other => other,
    }
}

/// Whether a vector is no guarded memory itself, and not null: anything else that is unreadable ends the program as it would have.
fn is_readable(vector: *const iovec, count: usize) -> bool {
    !vector.is_null() && count > 0 && !PROCESS.may_be_guarded(vector.cast())
}

#[unsafe(no_mangle)]
extern "C" fn read(file: c_int, buffer: *mut c_void, bytes: size_t) -> ssize_t {
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { __read(file, buffer, bytes) })
}

#[unsafe(no_mangle)]
extern "C" fn pread64(file: c_int, buffer: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { __pread64(file, buffer, bytes, offset) })
}

#[unsafe(no_mangle)]
extern "C" fn pread(file: c_int, buffer: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
    pread64(file, buffer, bytes, offset)
}

#[unsafe(no_mangle)]
extern "C" fn write(file: c_int, buffer: *const c_void, bytes: size_t) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the caller's arguments.
    unsafe { __write(file, buffer, bytes) }
}

#[unsafe(no_mangle)]
extern "C" fn pwrite64(file: c_int, buffer: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the caller's arguments.
    unsafe { __pwrite64(file, buffer, bytes, offset) }
}

#[unsafe(no_mangle)]
extern "C" fn pwrite(file: c_int, buffer: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
    pwrite64(file, buffer, bytes, offset)
}

#[unsafe(no_mangle)]
extern "C" fn send(file: c_int, buffer: *const c_void, bytes: size_t, flags: c_int) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the caller's arguments.
    unsafe { __send(file, buffer, bytes, flags) }
}

#[unsafe(no_mangle)]
extern "C" fn recv(file: c_int, buffer: *mut c_void, bytes: size_t, flags: c_int) -> ssize_t {
    type Recv = unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t;
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Recv = unsafe { core::mem::transmute(NEXT_RECV.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes, flags) })
}

#[unsafe(no_mangle)]
extern "C" fn recvfrom(
    file: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_bytes: *mut socklen_t,
) -> ssize_t {
    type RecvFrom =
        unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t;
    // SAFETY: as in `recv`.
    let next: RecvFrom = unsafe { core::mem::transmute(NEXT_RECVFROM.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes, flags, from, from_bytes) })
}

#[unsafe(no_mangle)]
extern "C" fn sendto(
    file: c_int,
    buffer: *const c_void,
    bytes: size_t,
    flags: c_int,
    to: *const sockaddr,
    to_bytes: socklen_t,
) -> ssize_t {
    type SendTo =
        unsafe extern "C" fn(c_int, *const c_void, size_t, c_int, *const sockaddr, socklen_t) -> ssize_t;
    goes_out(buffer, bytes);
    // SAFETY: as in `recv`.
    let next: SendTo = unsafe { core::mem::transmute(NEXT_SENDTO.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, flags, to, to_bytes) }
}

type Vector = unsafe extern "C" fn(c_int, *const iovec, c_int) -> ssize_t;

#[unsafe(no_mangle)]
extern "C" fn readv(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as in `recv`.
    let next: Vector = unsafe { core::mem::transmute(NEXT_READV.get()) };
    // SAFETY: the caller's arguments.
    vector(parts, count.max(0) as usize, true, || unsafe { next(file, parts, count) })
}

#[unsafe(no_mangle)]
extern "C" fn writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as in `recv`.
    let next: Vector = unsafe { core::mem::transmute(NEXT_WRITEV.get()) };
    // SAFETY: the caller's arguments.
    vector(parts, count.max(0) as usize, false, || unsafe { next(file, parts, count) })
}

#[unsafe(no_mangle)]
extern "C" fn recvmsg(file: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    type RecvMsg = unsafe extern "C" fn(c_int, *mut msghdr, c_int) -> ssize_t;
    // SAFETY: as in `recv`.
    let next: RecvMsg = unsafe { core::mem::transmute(NEXT_RECVMSG.get()) };
    // SAFETY: null, or the caller's message.
    let (parts, count) = unsafe { message.as_ref() }.map_or((core::ptr::null(), 0), parts_of);
    // SAFETY: the caller's arguments.
    vector(parts, count, true, || unsafe { next(file, message, flags) })
}

#[unsafe(no_mangle)]
extern "C" fn sendmsg(file: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    type SendMsg = unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t;
    // SAFETY: as in `recv`.
    let next: SendMsg = unsafe { core::mem::transmute(NEXT_SENDMSG.get()) };
    // SAFETY: null, or the caller's message.
    let (parts, count) = unsafe { message.as_ref() }.map_or((core::ptr::null(), 0), parts_of);
    // SAFETY: the caller's arguments.
    vector(parts, count, false, || unsafe { next(file, message, flags) })
}

fn parts_of(message: &msghdr) -> (*const iovec, usize) {
    (message.msg_iov, message.msg_iovlen)
}
