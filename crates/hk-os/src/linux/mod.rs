//! The real operating system: Linux through libc's wrappers, none of which allocates. They leave errno as it was, as
//! free has to (glibc since 2.33, POSIX 2024).

mod bare;
mod huge;
mod image;
mod memory;
mod own;
mod sandbox;
mod stop;
mod tls;
mod tracking;
mod worker;

pub use bare::{KernelAction, exchange_kernel_action, make_call, system_call};
pub use image::{
    ImageEntry, ImageState, become_image, end_image, fork_image, kill_image, may_fork_image, poll_image,
    wait_for_image,
};
pub use own::{note_own_memory, own_memory};
pub use sandbox::{Instruction, Noted, Optional, may, note_filter, note_strict};
pub use stop::{
    Context, SignalStack, StopFailure, Stopped, note_signal_stack, stop_others, thread_name_of,
    thread_pagemap_of,
};
pub use tracking::{WriteTracker, close_inherited, tracks_writes};
pub use worker::Worker;

use crate::{GuardOs, Os, Purged, SignalMask};
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};

const SLICE_BYTES: usize = 64 << 10;
/// Of most machines; the kernel rounds up.
const PAGE_BYTES: usize = 4 << 10;

/// MADV_DONTNEED_LOCKED (Linux 5.18): gives locked pages back too.
const MADV_DONTNEED_LOCKED: i32 = 24;

/// MADV_POPULATE_WRITE (Linux 5.14): as if every page was written to.
const MADV_POPULATE_WRITE: i32 = 23;

/// MADV_GUARD_INSTALL and MADV_GUARD_REMOVE (Linux 6.13): page table entries that trap, and no mapping of their own.
const MADV_GUARD_INSTALL: i32 = 102;
const MADV_GUARD_REMOVE: i32 = 103;
/// PIDFD_SELF_THREAD_GROUP (Linux 6.14): this process, where a descriptor of a process is wanted.
const PIDFD_SELF: libc::c_long = -10_001;
/// Ranges of one call.
const RANGES_MAX: usize = 16;

/// Where the number of this process is noted for when it can't be asked for any more; a fork wipes it.
static NOTED_PROCESS: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());
/// No process has this number: the kernel grants 22 bits (pid_max, proc(5)).
const UNKNOWN_PROCESS: u32 = u32::MAX;

/// Linux. A value without state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linux;

/// Keeps the program's errno: free must not change it (POSIX 2024, glibc since 2.33).
#[derive(Debug)]
pub struct Errno(i32);

impl Errno {
    /// Takes the present value; it is put back on drop.
    pub fn keep() -> Self {
        Errno(Self::get())
    }

    /// The calling thread's errno.
    pub fn get() -> i32 {
        // SAFETY: glibc returns a valid pointer to the calling thread's errno.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above; the value is an int that only this thread accesses.
        unsafe { *place }
    }

    /// Sets the calling thread's errno.
    pub fn set(value: i32) {
        // SAFETY: glibc returns a valid pointer to the calling thread's errno.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        unsafe { *place = value };
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        Self::set(self.0);
    }
}

// SAFETY: mmap returns memory that nothing else uses, and the kernel keeps its contents until purge or release.
unsafe impl Os for Linux {
    fn reserve(&self, bytes: usize) -> Option<NonNull<u8>> {
        // One slice more, and the ends cut off, so that slices are aligned.
        let wanted = bytes.checked_add(SLICE_BYTES)?;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing existing.
        let raw = unsafe {
            libc::mmap(
                null_mut(),
                wanted,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            return None;
        }
        let raw = NonNull::new(raw.cast::<u8>())?;
        let head = raw.as_ptr().align_offset(SLICE_BYTES);
        // SAFETY: head < SLICE_BYTES, and the mapping has that much more than `bytes`.
        let start = unsafe { raw.add(head) };
        if head > 0 {
            // SAFETY: the part before the aligned start, which nobody was told of.
            unsafe { self.release(raw, head) };
        }
        if head < SLICE_BYTES {
            // SAFETY: inside the mapping: head + bytes <= wanted.
            let tail = unsafe { start.add(bytes) };
            // SAFETY: the part behind the reservation, which nobody was told of.
            unsafe { self.release(tail, SLICE_BYTES - head) };
        }
        huge::look();
        Some(start)
    }

    unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
        let _errno = Errno::keep();
        // SAFETY: the caller owns the range and gives it up.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let _errno = Errno::keep();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        if may(Optional::Protect) {
            // SAFETY: the range is ours by the caller's word.
            let done = unsafe { libc::mprotect(start.as_ptr().cast(), bytes, access) == 0 };
            if done || !matches!(Errno::get(), libc::EPERM | libc::EACCES | libc::ENOSYS) {
                return done;
            }
        }
        // A sandbox forbids mprotect, which glibc's malloc can do without, but mmap it cannot.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: as above, and nothing is lost: what it held is not needed.
        unsafe { libc::mmap(start.as_ptr().cast(), bytes, access, flags, -1, 0) != libc::MAP_FAILED }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Purged {
        if !may(Optional::Advise) {
            return Purged::Kept;
        }
        let _errno = Errno::keep();
        let start = start.as_ptr().cast();
        // SAFETY: committed pages whose contents the caller gives up.
        if unsafe { libc::madvise(start, bytes, libc::MADV_DONTNEED) } == 0 {
            return Purged::Zeroed;
        }
        // SAFETY: as above.
        match unsafe { libc::madvise(start, bytes, MADV_DONTNEED_LOCKED) } {
            0 => Purged::Zeroed,
            _ => Purged::Kept,
        }
    }

    unsafe fn populate_huge(&self, start: NonNull<u8>, bytes: usize) {
        if !huge::are_given() || !may(Optional::Advise) {
            return;
        }
        let _errno = Errno::keep();
        // The last call is why the range is populated here and not by the program's touch: were it left marked, the kernel's
        // khugepaged would in time fill with memory again what is given back of it.
        for advice in [libc::MADV_HUGEPAGE, MADV_POPULATE_WRITE, libc::MADV_NOHUGEPAGE] {
            // SAFETY: committed pages by the caller's word; none of these changes their contents.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
        }
    }

    unsafe fn prefer_huge(&self, start: NonNull<u8>, bytes: usize) {
        if !may(Optional::Advise) {
            return;
        }
        let _errno = Errno::keep();
        // SAFETY: committed pages by the caller's word; their contents don't change.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }

    /// MADV_COLD, Linux 5.4: of a huge page that is mapped in part it has to deactivate the rest, for which the kernel splits it
    /// (mm/madvise.c, madvise_cold_or_pageout_pte_range).
    unsafe fn split_huge(&self, start: NonNull<u8>, bytes: usize) {
        if !may(Optional::Advise) {
            return;
        }
        let _errno = Errno::keep();
        // SAFETY: committed pages by the caller's word; their contents don't change.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_COLD) };
    }

    /// MADV_WIPEONFORK, Linux 4.14.
    fn word_wiped_on_fork(&self) -> Option<&'static AtomicU32> {
        if !may(Optional::Advise) {
            return None;
        }
        let _errno = Errno::keep();
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing existing.
        let page = unsafe {
            libc::mmap(
                null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: our own mapping.
        if unsafe { libc::madvise(page, PAGE_BYTES, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: as above, and nobody was told of it.
            unsafe { libc::munmap(page, PAGE_BYTES) };
            return None;
        }
        note_own_memory(page.addr(), PAGE_BYTES);
        // SAFETY: aligned, zero, and never unmapped.
        Some(unsafe { &*page.cast::<AtomicU32>() })
    }

    fn wait(&self, word: &AtomicU32, expected: u32, timeout_ms: u32) {
        let timeout = libc::timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        let _errno = Errno::keep();
        // SAFETY: `word` and `timeout` live through the call; FUTEX_WAIT only reads them.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                expected,
                &raw const timeout,
            )
        };
    }

    fn wake_one(&self, word: &AtomicU32) {
        let _errno = Errno::keep();
        // SAFETY: FUTEX_WAKE uses the address as a key only.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1)
        };
    }

    fn now_ms(&self) -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a valid place for the result.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
        now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
    }

    fn address_space_left(&self) -> Option<usize> {
        limit_of(libc::RLIMIT_AS).map(|limit| limit.saturating_sub(mapped_bytes()))
    }

    fn block_signals(&self) -> SignalMask {
        // But that by which threads are stopped, whose handler takes no lock: who waits for a lock answers too.
        set_signal_mask(SignalMask(!(1 << (stop::SIGNAL - 1))))
    }

    fn restore_signals(&self, mask: SignalMask) {
        set_signal_mask(mask);
    }

    fn thread_token(&self) -> usize {
        // SAFETY: no arguments, cannot fail; glibc reads it from the thread's own descriptor.
        unsafe { libc::pthread_self() as usize }
    }

    fn process_id(&self) -> u32 {
        if may(Optional::ProcessId) {
            // SAFETY: no arguments, cannot fail.
            return unsafe { libc::getpid() as u32 };
        }
        // SAFETY: null, or from a reference that lasts.
        let noted = unsafe { NOTED_PROCESS.load(Ordering::Acquire).as_ref() };
        // Relaxed: written before the filter was set, or wiped by a fork. A fork child in the sandbox has no number.
        noted.map_or(UNKNOWN_PROCESS, |word| match word.load(Ordering::Relaxed) {
            0 => UNKNOWN_PROCESS,
            process => process,
        })
    }
}

// SAFETY: as above; pages that are guarded or denied were given up by the caller.
unsafe impl GuardOs for Linux {
    unsafe fn install_guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if !may(Optional::Guard) {
            return false;
        }
        let _errno = Errno::keep();
        // SAFETY: committed pages whose contents the caller gives up.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, MADV_GUARD_INSTALL) == 0 }
    }

    unsafe fn remove_guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if !may(Optional::Guard) {
            return false;
        }
        let _errno = Errno::keep();
        // SAFETY: committed pages by the caller's word; pages that are accessible keep their contents.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, MADV_GUARD_REMOVE) == 0 }
    }

    unsafe fn remove_guards(&self, pages: &[NonNull<u8>]) -> bool {
        if !may(Optional::AdviseMany) {
            return false;
        }
        let _errno = Errno::keep();
        let mut parts = [libc::iovec { iov_base: null_mut(), iov_len: PAGE_BYTES }; RANGES_MAX];
        pages.chunks(RANGES_MAX).all(|pages| {
            for (part, page) in parts.iter_mut().zip(pages) {
                part.iov_base = page.as_ptr().cast();
            }
            let (count, flags) = (pages.len(), 0);
            // SAFETY: as many ranges as are told, of committed pages by the caller's word.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_process_madvise,
                    PIDFD_SELF,
                    parts.as_ptr(),
                    count,
                    MADV_GUARD_REMOVE,
                    flags,
                )
            };
            done == (count * PAGE_BYTES) as libc::c_long
        })
    }

    unsafe fn permit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if !may(Optional::Protect) {
            return false;
        }
        let _errno = Errno::keep();
        // SAFETY: the range is ours by the caller's word.
        unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0 }
    }

    unsafe fn deny(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if !may(Optional::Protect) {
            return false;
        }
        let _errno = Errno::keep();
        // SAFETY: the range is ours, and nothing uses it, by the caller's word.
        unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_NONE) == 0 }
    }

    fn memory_bytes(&self) -> usize {
        memory::bytes_max()
    }
}

/// Notes the number of this process, as a sandbox may forbid to ask for it.
pub fn note_process_id() {
    if NOTED_PROCESS.load(Ordering::Acquire).is_null()
        && let Some(word) = Linux.word_wiped_on_fork()
    {
        let word: *const AtomicU32 = word;
        NOTED_PROCESS.store(word.cast_mut(), Ordering::Release);
    }
    // SAFETY: null, or from a reference that lasts.
    if let Some(word) = unsafe { NOTED_PROCESS.load(Ordering::Acquire).as_ref() }
        && may(Optional::ProcessId)
    {
        word.store(Linux.process_id(), Ordering::Relaxed);
    }
}

/// rt_sigprocmask(2) as a system call: libc's wrapper may be the program's own. Where a sandbox forbids it nothing happens: handlers that
/// malloc then may not interrupt malloc, as with glibc's.
fn set_signal_mask(mask: SignalMask) -> SignalMask {
    if !may(Optional::SignalMask) {
        return mask;
    }
    let _errno = Errno::keep();
    let mut old = SignalMask(0);
    // SAFETY: both masks are the eight bytes that the kernel asks for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut old.0,
            size_of::<u64>(),
        )
    };
    old
}

/// A clock that does not go back, in nanoseconds. No system call where the kernel provides for that (vdso(7)).
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_COARSE)
}

/// Time that the calling thread has run, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID, libc::CLOCK_MONOTONIC_COARSE)
}

/// Time that all threads of the process have run, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID, libc::CLOCK_MONOTONIC_COARSE)
}

/// Wall clock, nanoseconds since 1970. No system call where the kernel provides for that (vdso(7)).
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE)
}

/// The coarse clock (4 ms) is one that the kernel leaves in memory: it takes neither a system call nor the processor's counter.
fn clock_ns(clock: libc::clockid_t, coarse: libc::clockid_t) -> u64 {
    let clock = if may(Optional::Clock) { clock } else { coarse };
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the result.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A limit of the process (prlimit(2)); None if there is none. By a system call, as the preloaded library stands before libc's functions.
fn limit_of(resource: libc::__rlimit_resource_t) -> Option<usize> {
    let _errno = Errno::keep();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let (this, unchanged) = (0, core::ptr::null::<libc::rlimit>());
    // SAFETY: `limit` is a valid place for the result.
    let failed =
        unsafe { libc::syscall(libc::SYS_prlimit64, this, resource, unchanged, &raw mut limit) } != 0;
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as usize)
}

/// So much private memory that can be written to the process may have, in bytes (RLIMIT_DATA; since Linux 4.7 that is what it limits).
pub fn data_bytes_max() -> usize {
    limit_of(libc::RLIMIT_DATA).unwrap_or(usize::MAX)
}

/// How much memory the process may use beside what is in use now, in bytes: by it, its control groups, or the machine.
pub fn memory_bytes_left() -> usize {
    memory::bytes_left()
}

/// Bytes of address space in use, reserved ones included. Zero if it can't be read.
pub fn mapped_bytes() -> usize {
    statm_bytes(0)
}

/// Resident bytes of this process. Zero if it can't be read.
pub fn resident_bytes() -> usize {
    statm_bytes(1)
}

/// What the loader added to the addresses in the program's file: 0 for one that is linked for a fixed address. By its program headers, of
/// which one tells its own address (PT_PHDR, System V ABI).
pub fn program_bias() -> usize {
    // SAFETY: takes any number.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) } as usize;
    let table: *const libc::Elf64_Phdr = core::ptr::with_exposed_provenance(headers);
    for nth in 0..if headers == 0 { 0 } else { count } {
        // SAFETY: the kernel tells where they are mapped, and how many there are.
        let header = unsafe { table.wrapping_add(nth).read() };
        if header.p_type == libc::PT_PHDR {
            return headers.wrapping_sub(header.p_vaddr as usize);
        }
    }
    0
}

/// The begin of a file of the kernel's; empty if it can't be read. By system calls: libc's functions of these names are cancellation
/// points, which malloc is not, and may be the program's own.
fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> &'a [u8] {
    if !may(Optional::OpenFile) {
        return &[];
    }
    let _errno = Errno::keep();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) };
    if fd < 0 {
        return &[];
    }
    // SAFETY: the buffer is valid for its length.
    let len = unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) };
    // SAFETY: our own descriptor, closed once.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    &buffer[..len.max(0) as usize]
}

/// A field of /proc/self/statm (proc(5)), in bytes.
fn statm_bytes(field: usize) -> usize {
    let mut text = [0u8; 128];
    let text = read_file(c"/proc/self/statm", &mut text);
    let digits = text.split(|&b| b == b' ').nth(field).unwrap_or(b"");
    digits.iter().fold(0usize, |n, &d| n * 10 + usize::from(d.wrapping_sub(b'0'))) * 4096
}

/// glibc's byte that is not zero while the process has one thread, and is set to zero by that thread before it makes another
/// (`__libc_single_threaded`, sys/single_threaded.h, glibc 2.32). None where libc lacks it.
pub fn single_thread_flag() -> Option<&'static AtomicU8> {
    // SAFETY: a NUL-terminated name.
    let flag = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    // SAFETY: null, or a char of libc's, which stays loaded; an atomic byte has the same layout.
    unsafe { flag.cast::<AtomicU8>().as_ref() }
}
