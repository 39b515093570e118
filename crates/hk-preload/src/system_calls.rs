//! System calls that are given buffers. At a guard the kernel answers EFAULT, or does a part, and no trap tells: so buffers of guarded
//! blocks are looked at here. What goes out is looked at before the call, as its length is what is read; what comes in, afterwards, for as much
//! as came, as programs may offer more room than they have and know that less will come.
//!
//! All other calls, and all calls while nothing is guarded, are passed on unchanged. The functions stay cancellation points, as those behind them are.

use crate::host::PROCESS;
use crate::next::{Next, unless_foreign};
use hk_os::Errno;
use libc::{
    EFAULT, c_char, c_int, c_void, iovec, mmsghdr, msghdr, off_t, size_t, sockaddr, socklen_t, ssize_t,
};

static NEXT_READ: Next = Next::new(c"read");
static NEXT_WRITE: Next = Next::new(c"write");
static NEXT_PREAD: Next = Next::new(c"pread64");
static NEXT_PWRITE: Next = Next::new(c"pwrite64");
static NEXT_SEND: Next = Next::new(c"send");
static NEXT_RECV: Next = Next::new(c"recv");
static NEXT_RECVFROM: Next = Next::new(c"recvfrom");
static NEXT_SENDTO: Next = Next::new(c"sendto");
static NEXT_READV: Next = Next::new(c"readv");
static NEXT_WRITEV: Next = Next::new(c"writev");
static NEXT_RECVMSG: Next = Next::new(c"recvmsg");
static NEXT_SENDMSG: Next = Next::new(c"sendmsg");

unless_foreign! {
    read => our_read, NEXT_READ;
    pread64 => our_pread64, NEXT_PREAD;
    pread => our_pread, NEXT_PREAD;
    write => our_write, NEXT_WRITE;
    pwrite64 => our_pwrite64, NEXT_PWRITE;
    pwrite => our_pwrite, NEXT_PWRITE;
    send => our_send, NEXT_SEND;
    recv => our_recv, NEXT_RECV;
    recvfrom => our_recvfrom, NEXT_RECVFROM;
    sendto => our_sendto, NEXT_SENDTO;
    readv => our_readv, NEXT_READV;
    writev => our_writev, NEXT_WRITEV;
    recvmsg => our_recvmsg, NEXT_RECVMSG;
    sendmsg => our_sendmsg, NEXT_SENDMSG;
}

/// At the start: a look-up may allocate, and these functions may be called in signal handlers.
pub fn begin() {
    for next in [
        &NEXT_READ,
        &NEXT_WRITE,
        &NEXT_PREAD,
        &NEXT_PWRITE,
        &NEXT_SEND,
        &NEXT_RECV,
        &NEXT_RECVFROM,
        &NEXT_SENDTO,
        &NEXT_READV,
        &NEXT_WRITEV,
        &NEXT_RECVMSG,
        &NEXT_SENDMSG,
    ] {
        next.look_up();
    }
}

/// Looks at what is about to be read from a buffer.
#[inline]
pub fn goes_out(buffer: *const c_void, bytes: size_t) {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_outgoing(buffer.cast(), bytes);
    }
}

/// Makes a call that writes to a buffer, and looks at as much as came.
#[inline]
pub fn comes_in(buffer: *const c_void, bytes: size_t, call: impl FnOnce() -> ssize_t) -> ssize_t {
    if !PROCESS.may_be_guarded(buffer.cast()) || bytes == 0 {
        return call();
    }
    let incoming = PROCESS.before_incoming(buffer.cast(), bytes);
    let came = call();
    // More than there is room for may be told (MSG_TRUNC, recv(2)).
    PROCESS.after_incoming(&incoming, (came.max(0) as size_t).min(bytes));
    came
}

/// Calls `look` with each of several buffers, of `bytes` in all.
fn each_part(vector: *const iovec, count: usize, mut bytes: usize, look: impl Fn(*const u8, usize)) {
    for nth in 0..count {
        // SAFETY: the caller gives so many, which the kernel has read too, or which were found readable.
        let part = unsafe { vector.wrapping_add(nth).read() };
        let len = part.iov_len.min(bytes);
        bytes -= len;
        if len > 0 && PROCESS.may_be_guarded(part.iov_base.cast()) {
            look(part.iov_base.cast(), len);
        }
    }
}

/// Looks at several buffers that go out, and at the vector that tells them.
pub fn parts_go_out(vector: *const iovec, count: usize) {
    goes_out(vector.cast(), count.saturating_mul(size_of::<iovec>()));
    if PROCESS.is_guarding() && is_readable(vector, count) {
        each_part(vector, count, usize::MAX, |part, len| _ = PROCESS.check_outgoing(part, len));
    }
}

/// Looks, before a call, at several buffers of which it fills as much as comes.
pub fn parts_come_in(vector: *const iovec, count: usize) {
    goes_out(vector.cast(), count.saturating_mul(size_of::<iovec>()));
    if PROCESS.is_guarding() && is_readable(vector, count) {
        each_part(vector, count, usize::MAX, |part, len| PROCESS.check_room(part, len));
    }
}

/// A call with several buffers that go out: looked at beforehand if there is anything to see.
fn vector_goes_out(vector: *const iovec, count: usize, call: impl FnOnce() -> ssize_t) -> ssize_t {
    parts_go_out(vector, count);
    call()
}

/// A call with several buffers that are filled: what is no block's own is looked at for as much as came. Where guards kept it from working it
/// is not made again, as a message may be lost already.
fn vector_comes_in(vector: *const iovec, count: usize, call: impl FnOnce() -> ssize_t) -> ssize_t {
    goes_out(vector.cast(), count.saturating_mul(size_of::<iovec>()));
    let came = call();
    if !PROCESS.is_guarding() {
        return came;
    }
    let failed = came < 0 && Errno::get() == EFAULT;
    if came > 0 || failed && is_readable(vector, count) {
        let bytes = if failed { usize::MAX } else { came as usize };
        each_part(vector, count, bytes, |part, len| {
            let incoming = PROCESS.before_incoming(part, len);
            PROCESS.after_incoming(&incoming, len);
        });
    }
    came
}

/// Whether the kernel can read a vector: else it answers EFAULT, and so must we not look.
fn is_readable(vector: *const iovec, count: usize) -> bool {
    let part = |nth: usize| vector.wrapping_add(nth);
    let readable = |nth: usize| {
        hk_recorder::is_readable(part(nth).addr())
            && hk_recorder::is_readable(part(nth).addr() + size_of::<usize>())
    };
    count <= libc::UIO_MAXIOV as usize && (0..count).all(readable)
}

type Read = unsafe extern "C" fn(c_int, *mut c_void, size_t) -> ssize_t;
type ReadAt = unsafe extern "C" fn(c_int, *mut c_void, size_t, off_t) -> ssize_t;
type Write = unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t;
type WriteAt = unsafe extern "C" fn(c_int, *const c_void, size_t, off_t) -> ssize_t;
type Send = unsafe extern "C" fn(c_int, *const c_void, size_t, c_int) -> ssize_t;

extern "C" fn our_read(file: c_int, buffer: *mut c_void, bytes: size_t) -> ssize_t {
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Read = unsafe { core::mem::transmute(NEXT_READ.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes) })
}

extern "C" fn our_pread64(file: c_int, buffer: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: ReadAt = unsafe { core::mem::transmute(NEXT_PREAD.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes, offset) })
}

extern "C" fn our_pread(file: c_int, buffer: *mut c_void, bytes: size_t, offset: off_t) -> ssize_t {
    our_pread64(file, buffer, bytes, offset)
}

extern "C" fn our_write(file: c_int, buffer: *const c_void, bytes: size_t) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Write = unsafe { core::mem::transmute(NEXT_WRITE.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes) }
}

extern "C" fn our_pwrite64(file: c_int, buffer: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: WriteAt = unsafe { core::mem::transmute(NEXT_PWRITE.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, offset) }
}

extern "C" fn our_pwrite(file: c_int, buffer: *const c_void, bytes: size_t, offset: off_t) -> ssize_t {
    our_pwrite64(file, buffer, bytes, offset)
}

extern "C" fn our_send(file: c_int, buffer: *const c_void, bytes: size_t, flags: c_int) -> ssize_t {
    goes_out(buffer, bytes);
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Send = unsafe { core::mem::transmute(NEXT_SEND.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, flags) }
}

extern "C" fn our_recv(file: c_int, buffer: *mut c_void, bytes: size_t, flags: c_int) -> ssize_t {
    type Recv = unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int) -> ssize_t;
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Recv = unsafe { core::mem::transmute(NEXT_RECV.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes, flags) })
}

extern "C" fn our_recvfrom(
    file: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    flags: c_int,
    from: *mut sockaddr,
    from_bytes: *mut socklen_t,
) -> ssize_t {
    type RecvFrom =
        unsafe extern "C" fn(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t;
    goes_out(from_bytes.cast(), size_of::<socklen_t>());
    if PROCESS.may_be_guarded(from.cast()) && hk_recorder::is_readable(from_bytes.addr()) {
        // SAFETY: found readable.
        room_for(from.cast(), unsafe { from_bytes.read_unaligned() } as usize);
    }
    // SAFETY: as in `recv`.
    let next: RecvFrom = unsafe { core::mem::transmute(NEXT_RECVFROM.get()) };
    // SAFETY: the caller's arguments.
    comes_in(buffer, bytes, || unsafe { next(file, buffer, bytes, flags, from, from_bytes) })
}

extern "C" fn our_sendto(
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
    goes_out(to.cast(), to_bytes as usize);
    // SAFETY: as in `recv`.
    let next: SendTo = unsafe { core::mem::transmute(NEXT_SENDTO.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, flags, to, to_bytes) }
}

type Vector = unsafe extern "C" fn(c_int, *const iovec, c_int) -> ssize_t;

extern "C" fn our_readv(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as in `recv`.
    let next: Vector = unsafe { core::mem::transmute(NEXT_READV.get()) };
    // SAFETY: the caller's arguments.
    vector_comes_in(parts, count.max(0) as usize, || unsafe { next(file, parts, count) })
}

extern "C" fn our_writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as in `recv`.
    let next: Vector = unsafe { core::mem::transmute(NEXT_WRITEV.get()) };
    // SAFETY: the caller's arguments.
    vector_goes_out(parts, count.max(0) as usize, || unsafe { next(file, parts, count) })
}

extern "C" fn our_recvmsg(file: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    type RecvMsg = unsafe extern "C" fn(c_int, *mut msghdr, c_int) -> ssize_t;
    // SAFETY: as in `recv`.
    let next: RecvMsg = unsafe { core::mem::transmute(NEXT_RECVMSG.get()) };
    let (parts, count) = parts_of(message, room_for);
    // SAFETY: the caller's arguments.
    vector_comes_in(parts, count, || unsafe { next(file, message, flags) })
}

extern "C" fn our_sendmsg(file: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    type SendMsg = unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t;
    // SAFETY: as in `recv`.
    let next: SendMsg = unsafe { core::mem::transmute(NEXT_SENDMSG.get()) };
    let (parts, count) = parts_of(message, goes_out);
    // SAFETY: the caller's arguments.
    vector_goes_out(parts, count, || unsafe { next(file, message, flags) })
}

/// Looks at several messages that go out (sendmmsg(2)).
pub fn messages_go_out(messages: *const mmsghdr, count: usize) {
    each_message(messages, count, |message| {
        let (parts, count) = parts_of(message, goes_out);
        parts_go_out(parts, count);
    });
}

/// Looks, before a call, at several messages of which it fills as many as come (recvmmsg(2)).
pub fn messages_come_in(messages: *const mmsghdr, count: usize) {
    each_message(messages, count, |message| {
        let (parts, count) = parts_of(message, room_for);
        parts_come_in(parts, count);
    });
}

fn each_message(messages: *const mmsghdr, count: usize, look: impl Fn(*const msghdr)) {
    // More are not looked at by the system either (UIO_MAXIOV).
    let count = count.min(libc::UIO_MAXIOV as usize);
    goes_out(messages.cast(), count.saturating_mul(size_of::<mmsghdr>()));
    if PROCESS.is_guarding() {
        (0..count).for_each(|nth| look(messages.wrapping_add(nth).cast()));
    }
}

/// Looks at texts that are about to be read, and at the list of them, which ends with NULL.
pub fn texts_go_out(list: *const *const c_char) {
    let mut place = list;
    while PROCESS.is_guarding() && !place.is_null() {
        goes_out(place.cast(), size_of::<usize>());
        if !hk_recorder::is_readable(place.addr()) {
            return;
        }
        // SAFETY: found readable.
        let text = unsafe { place.read_unaligned() };
        if text.is_null() {
            return;
        }
        text_goes_out(text);
        place = place.wrapping_add(1);
    }
}

/// Bytes of a set of files that select(2) looks at: up to the highest that the process has. Programs say how many it could have (getdtablesize(3)), and give
/// an fd_set all the same.
pub fn set_bytes(files: usize) -> usize {
    files.min(libc::FD_SETSIZE).div_ceil(64) * 8
}

/// Looks at a text that is about to be read.
pub fn text_goes_out(text: *const c_char) {
    if PROCESS.may_be_guarded(text.cast()) {
        PROCESS.check_text(text.cast());
    }
}

/// Looks at what the call fills as a whole.
pub fn gets_filled(buffer: *const c_void, bytes: size_t) {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_filled(buffer.cast(), bytes);
    }
}

/// Looks at what of a buffer is there before the call fills as much as comes.
pub fn room_for(buffer: *const c_void, bytes: size_t) {
    if PROCESS.may_be_guarded(buffer.cast()) {
        PROCESS.check_room(buffer.cast(), bytes);
    }
}

/// The buffers of a message; none while nothing is guarded, and of one that can't be read. Looks at the message itself, and by `look` at its
/// address and at what else comes with it.
fn parts_of(message: *const msghdr, look: impl Fn(*const c_void, size_t)) -> (*const iovec, usize) {
    goes_out(message.cast(), size_of::<msghdr>());
    let end = message.addr() + size_of::<msghdr>() - size_of::<usize>();
    if !PROCESS.is_guarding() || !hk_recorder::is_readable(message.addr()) || !hk_recorder::is_readable(end) {
        return (core::ptr::null(), 0);
    }
    // SAFETY: the kernel has just read both of its ends; it minds no alignment.
    let message = unsafe { message.read_unaligned() };
    look(message.msg_name, message.msg_namelen as usize);
    look(message.msg_control, message.msg_controllen);
    (message.msg_iov, message.msg_iovlen)
}

/// For programs that were compiled with checks (_FORTIFY_SOURCE): `room` is what the compiler knows of the buffer. What does not fit is for
/// libc's function, which ends the process.
#[unsafe(no_mangle)]
extern "C" fn __read_chk(file: c_int, buffer: *mut c_void, bytes: size_t, room: size_t) -> ssize_t {
    type Checked = unsafe extern "C" fn(c_int, *mut c_void, size_t, size_t) -> ssize_t;
    static NEXT: Next = Next::new(c"__read_chk");
    if bytes <= room {
        return our_read(file, buffer, bytes);
    }
    // SAFETY: as in `recv`.
    let next: Checked = unsafe { core::mem::transmute(NEXT.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, room) }
}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn __pread64_chk(
    file: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    offset: off_t,
    room: size_t,
) -> ssize_t {
    type Checked = unsafe extern "C" fn(c_int, *mut c_void, size_t, off_t, size_t) -> ssize_t;
    static NEXT: Next = Next::new(c"__pread64_chk");
    if bytes <= room {
        return our_pread64(file, buffer, bytes, offset);
    }
    // SAFETY: as in `recv`.
    let next: Checked = unsafe { core::mem::transmute(NEXT.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, offset, room) }
}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn __pread_chk(
    file: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    offset: off_t,
    room: size_t,
) -> ssize_t {
    __pread64_chk(file, buffer, bytes, offset, room)
}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn __recv_chk(
    file: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    type Checked = unsafe extern "C" fn(c_int, *mut c_void, size_t, size_t, c_int) -> ssize_t;
    static NEXT: Next = Next::new(c"__recv_chk");
    if bytes <= room {
        return our_recv(file, buffer, bytes, flags);
    }
    // SAFETY: as in `recv`.
    let next: Checked = unsafe { core::mem::transmute(NEXT.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(file, buffer, bytes, room, flags) }
}
