//! SIGSEGV is never blocked while blocks are guarded, as the kernel would end the process at a trap: it is taken out of the sets that the
//! program blocks, for good or while it waits. Sets of bare system calls go unseen.

use crate::next::{Next, unless_foreign};
use crate::signals::take_out;
use crate::system_calls::{gets_filled, goes_out, room_for, set_bytes};
use heapkeeper::guarding::trap;
use libc::{SIGSEGV, c_int, sigset_t};

/// The bytes of a set that the kernel knows.
const SET_BYTES: usize = 8;

static NEXT_SIGPROCMASK: Next = Next::new(c"sigprocmask");
static NEXT_PTHREAD_SIGMASK: Next = Next::new(c"pthread_sigmask");
static NEXT_SIGBLOCK: Next = Next::new(c"sigblock");
static NEXT_SIGSETMASK: Next = Next::new(c"sigsetmask");
static NEXT_SIGHOLD: Next = Next::new(c"sighold");
static NEXT_ATTR_SETSIGMASK: Next = Next::new(c"pthread_attr_setsigmask_np");
static NEXT_SIGSUSPEND: Next = Next::new(c"sigsuspend");
static NEXT_PPOLL: Next = Next::new(c"ppoll");
static NEXT_PSELECT: Next = Next::new(c"pselect");
static NEXT_EPOLL_PWAIT: Next = Next::new(c"epoll_pwait");
static NEXT_EPOLL_PWAIT2: Next = Next::new(c"epoll_pwait2");

unless_foreign! {
    sigsuspend => our_sigsuspend, NEXT_SIGSUSPEND;
    ppoll => our_ppoll, NEXT_PPOLL;
    pselect => our_pselect, NEXT_PSELECT;
    epoll_pwait => our_epoll_pwait, NEXT_EPOLL_PWAIT;
    epoll_pwait2 => our_epoll_pwait2, NEXT_EPOLL_PWAIT2;
}

/// At the start: later they may be wanted where a look-up may not be made.
pub fn look_up() {
    for next in [
        &NEXT_SIGPROCMASK,
        &NEXT_PTHREAD_SIGMASK,
        &NEXT_SIGBLOCK,
        &NEXT_SIGSETMASK,
        &NEXT_SIGHOLD,
        &NEXT_ATTR_SETSIGMASK,
        &NEXT_SIGSUSPEND,
        &NEXT_PPOLL,
        &NEXT_PSELECT,
        &NEXT_EPOLL_PWAIT,
        &NEXT_EPOLL_PWAIT2,
    ] {
        next.look_up();
    }
}

type Mask = unsafe extern "C" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;
fn set_mask(next: &Next, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    gets_filled(old.cast(), SET_BYTES);
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Mask = unsafe { core::mem::transmute(next.get()) };
    // SAFETY: null, or the caller's set.
    match unsafe { set.as_ref() } {
        Some(set) if how != libc::SIG_UNBLOCK && trap::is_installed() => {
            let mut set = *set;
            take_out(&mut set);
            // SAFETY: the caller's arguments, but for SIGSEGV.
            unsafe { next(how, &raw const set, old) }
        }
        // SAFETY: the caller's arguments.
        _ => unsafe { next(how, set, old) },
    }
}

#[unsafe(no_mangle)]
extern "C" fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    set_mask(&NEXT_SIGPROCMASK, how, set, old)
}

#[unsafe(no_mangle)]
extern "C" fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    set_mask(&NEXT_PTHREAD_SIGMASK, how, set, old)
}

/// BSD's masks of the first 32 signals (sigblock(3), sigsetmask(3)).
fn set_old_mask(next: &Next, mask: c_int) -> c_int {
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: extern "C" fn(c_int) -> c_int = unsafe { core::mem::transmute(next.get()) };
    next(if trap::is_installed() { mask & !(1 << (SIGSEGV - 1)) } else { mask })
}

#[unsafe(no_mangle)]
extern "C" fn sigblock(mask: c_int) -> c_int {
    set_old_mask(&NEXT_SIGBLOCK, mask)
}

#[unsafe(no_mangle)]
extern "C" fn sigsetmask(mask: c_int) -> c_int {
    set_old_mask(&NEXT_SIGSETMASK, mask)
}

/// System V's (sighold(3)).
#[unsafe(no_mangle)]
extern "C" fn sighold(signal: c_int) -> c_int {
    if signal == SIGSEGV && trap::is_installed() {
        return 0;
    }
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: extern "C" fn(c_int) -> c_int = unsafe { core::mem::transmute(NEXT_SIGHOLD.get()) };
    next(signal)
}

/// The mask that a thread begins with (glibc 2.32).
#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setsigmask_np(
    attributes: *mut libc::pthread_attr_t,
    set: *const sigset_t,
) -> c_int {
    type Set = unsafe extern "C" fn(*mut libc::pthread_attr_t, *const sigset_t) -> c_int;
    let next = NEXT_ATTR_SETSIGMASK.find();
    if next.is_null() {
        return libc::ENOSYS;
    }
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Set = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's arguments, but for SIGSEGV.
    without_segv(set, |set| unsafe { next(attributes, set) })
}

type Suspend = unsafe extern "C" fn(*const sigset_t) -> c_int;

/// A set without SIGSEGV, for a call that sets the mask while it waits, in which handlers run.
fn without_segv(set: *const sigset_t, call: impl FnOnce(*const sigset_t) -> c_int) -> c_int {
    if !trap::is_installed() {
        return call(set);
    }
    // SAFETY: null, or the caller's set.
    match unsafe { set.as_ref() } {
        Some(set) => {
            let mut set = *set;
            take_out(&mut set);
            call(&raw const set)
        }
        None => call(set),
    }
}

extern "C" fn our_sigsuspend(set: *const sigset_t) -> c_int {
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: Suspend = unsafe { core::mem::transmute(NEXT_SIGSUSPEND.get()) };
    // SAFETY: the caller's arguments, but for SIGSEGV.
    without_segv(set, |set| unsafe { next(set) })
}

extern "C" fn our_ppoll(
    files: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: *const libc::timespec,
    set: *const sigset_t,
) -> c_int {
    type Poll = unsafe extern "C" fn(
        *mut libc::pollfd,
        libc::nfds_t,
        *const libc::timespec,
        *const sigset_t,
    ) -> c_int;
    goes_out(files.cast(), (count as usize).saturating_mul(size_of::<libc::pollfd>()));
    // SAFETY: as above.
    let next: Poll = unsafe { core::mem::transmute(NEXT_PPOLL.get()) };
    // SAFETY: as above.
    without_segv(set, |set| unsafe { next(files, count, timeout, set) })
}

extern "C" fn our_pselect(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    timeout: *const libc::timespec,
    set: *const sigset_t,
) -> c_int {
    type Select = unsafe extern "C" fn(
        c_int,
        *mut libc::fd_set,
        *mut libc::fd_set,
        *mut libc::fd_set,
        *const libc::timespec,
        *const sigset_t,
    ) -> c_int;
    for set in [read, write, except] {
        goes_out(set.cast(), set_bytes(count.max(0) as usize));
    }
    // SAFETY: as above.
    let next: Select = unsafe { core::mem::transmute(NEXT_PSELECT.get()) };
    // SAFETY: as above.
    without_segv(set, |set| unsafe { next(count, read, write, except, timeout, set) })
}

extern "C" fn our_epoll_pwait(
    epoll: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: c_int,
    set: *const sigset_t,
) -> c_int {
    type Wait = unsafe extern "C" fn(c_int, *mut libc::epoll_event, c_int, c_int, *const sigset_t) -> c_int;
    room_for(events.cast(), (count.max(0) as usize).saturating_mul(size_of::<libc::epoll_event>()));
    // SAFETY: as above.
    let next: Wait = unsafe { core::mem::transmute(NEXT_EPOLL_PWAIT.get()) };
    // SAFETY: as above.
    without_segv(set, |set| unsafe { next(epoll, events, count, timeout, set) })
}

/// With a deadline in nanoseconds (Linux 5.11, glibc 2.35).
extern "C" fn our_epoll_pwait2(
    epoll: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: *const libc::timespec,
    set: *const sigset_t,
) -> c_int {
    type Wait = unsafe extern "C" fn(
        c_int,
        *mut libc::epoll_event,
        c_int,
        *const libc::timespec,
        *const sigset_t,
    ) -> c_int;
    room_for(events.cast(), (count.max(0) as usize).saturating_mul(size_of::<libc::epoll_event>()));
    let next = NEXT_EPOLL_PWAIT2.find();
    if next.is_null() {
        hk_os::Errno::set(libc::ENOSYS);
        return -1;
    }
    // SAFETY: as above.
    let next: Wait = unsafe { core::mem::transmute(next) };
    // SAFETY: as above.
    without_segv(set, |set| unsafe { next(epoll, events, count, timeout, set) })
}
