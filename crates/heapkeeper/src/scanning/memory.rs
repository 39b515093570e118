//! Memory to work with, which is never the heap's, and a look at memory that may vanish meanwhile.

use super::roots::Piece;
use core::ffi::{CStr, c_int};
use core::ptr::null_mut;
use core::sync::atomic::AtomicU64;
use hk_scan::PresentPages;

/// Zeros of the system's, given back at the end. Only what is touched takes memory.
pub(crate) struct Scratch<T> {
    start: *mut T,
    count: usize,
}

/// What zeros are a value of.
///
/// # Safety
/// All bytes zero is a valid value, and one that needs no drop.
pub(crate) unsafe trait FromZeros {}
// SAFETY: integers.
unsafe impl FromZeros for AtomicU64 {}
// SAFETY: as above.
unsafe impl FromZeros for u64 {}
// SAFETY: two integers.
unsafe impl FromZeros for hk_scan::Pending {}

// SAFETY: integers.
unsafe impl FromZeros for hk_scan::SliceEntry {}
// SAFETY: as above.
unsafe impl FromZeros for [usize; 2] {}

impl<T: FromZeros> Scratch<T> {
    /// Room for so many; None if the system refuses.
    pub(crate) fn new(count: usize) -> Option<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let bytes = count.max(1).checked_mul(size_of::<T>())?;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
        (start != libc::MAP_FAILED).then(|| Scratch { start: start.cast(), count })
    }

    /// Where it lies: start and bytes.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.start.addr(), self.count.max(1) * size_of::<T>())
    }

    pub(crate) fn slice(&self) -> &[T] {
        // SAFETY: our own mapping of so many, all valid, borrowed as `self` is.
        unsafe { core::slice::from_raw_parts(self.start, self.count) }
    }

    pub(crate) fn slice_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.count) }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.count.max(1) * size_of::<T>()) };
    }
}

/// Words that are looked at at once.
pub(crate) const WINDOW_WORDS: usize = (64 << 10) / size_of::<u64>();
const WORD: usize = size_of::<u64>();
pub(crate) const PAGE_BYTES: usize = 4096;

/// Which pages of the process are there, as the kernel tells (pagemap, Documentation/admin-guide/mm/pagemap.rst): one that is not has nothing to
/// be found in it, and to read it may take for ever (userfaultfd(2)).
pub(crate) struct Presence {
    file: Option<c_int>,
}

/// Bits of an entry: the page is in memory, or swapped out; it is a file's, or shared.
const IN_MEMORY: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
/// Entries that are read at once.
const ENTRIES: usize = 512;

impl Presence {
    /// What is there now. If that can't be found out, all is taken to be.
    pub(crate) fn new() -> Self {
        Presence { file: Self::open(c"/proc/thread-self/pagemap") }
    }

    /// The same of the process that this is an image of; None if it can't be found out.
    pub(crate) fn of_other(process: u32, thread: u32) -> Option<Self> {
        let path = hk_os::thread_pagemap_of(process, thread);
        let file = Self::open(CStr::from_bytes_until_nul(&path).ok()?);
        file.is_some().then_some(Presence { file })
    }

    fn open(path: &CStr) -> Option<c_int> {
        // SAFETY: a path that ends with NUL. By the bare call, as libc's function is the program's, and may be cancelled.
        let file = unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC)
        };
        (file >= 0).then_some(file as c_int)
    }

    /// Calls `found` with each run of pages, of those between two addresses, that are there: start and end, and whether all of it is in memory, so
    /// that it can be read. Of what is swapped out some may be no memory at all, but a mark that traps (MADV_GUARD_INSTALL).
    fn for_each_run(
        &self,
        start: usize,
        end: usize,
        copied_only: bool,
        mut found: impl FnMut(usize, usize, bool),
    ) {
        let Some(file) = self.file else { return found(start, end, false) };
        let mut entries = [0_u64; ENTRIES];
        let mut run = (start, Wanted::No);
        let mut page = start / PAGE_BYTES;
        let last = end.div_ceil(PAGE_BYTES);
        while page < last {
            let wanted = ENTRIES.min(last - page) * WORD;
            // SAFETY: as many bytes as there is room for.
            let came = unsafe {
                libc::syscall(
                    libc::SYS_pread64,
                    file,
                    entries.as_mut_ptr(),
                    wanted,
                    (page * WORD) as libc::off_t,
                )
            };
            if came < WORD as libc::c_long {
                // Nothing is known of the rest.
                break;
            }
            for &entry in &entries[..came as usize / WORD] {
                let is_left_out = copied_only && entry & OF_FILE != 0;
                let wanted = if is_left_out { Wanted::No } else { Wanted::of(entry) };
                let at = (page * PAGE_BYTES).max(start);
                if wanted != run.1 {
                    run.1.tell(run.0, at, &mut found);
                    run = (at, wanted);
                }
                page += 1;
            }
        }
        let known = (page * PAGE_BYTES).clamp(start, end);
        run.1.tell(run.0, known, &mut found);
        if known < end {
            found(known, end, false);
        }
    }
}

/// Whether a page is to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    No,
    /// It is in memory.
    InMemory,
    /// It may be anywhere.
    Elsewhere,
}

impl Wanted {
    fn of(entry: u64) -> Wanted {
        match entry & (IN_MEMORY | SWAPPED) {
            0 => Wanted::No,
            IN_MEMORY => Wanted::InMemory,
            _ => Wanted::Elsewhere,
        }
    }

    fn tell(self, start: usize, end: usize, found: &mut impl FnMut(usize, usize, bool)) {
        if self != Wanted::No && start < end {
            found(start, end, self == Wanted::InMemory);
        }
    }
}

impl PresentPages for Presence {
    fn for_each_present(&self, start: usize, end: usize, found: &mut dyn FnMut(usize, usize)) {
        self.for_each_run(start, end, false, |start, end, _| found(start, end));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            // SAFETY: our own descriptor, closed once.
            unsafe { libc::syscall(libc::SYS_close, file) };
        }
    }
}

/// Calls `look` with addresses and copies of the words of a piece of memory, some at a time, as far as it is there and can be read: by the kernel, for which memory
/// that is not there is no fault (process_vm_readv(2)). What can't be read is left out, by pages. False if nothing can be read so.
pub(crate) fn look_at(
    window: &mut Scratch<u64>,
    presence: &Presence,
    piece: Piece,
    mut look: impl FnMut(usize, &[u64]),
) -> bool {
    let mut works = true;
    let (start, end) = (piece.start.next_multiple_of(WORD), piece.start + piece.bytes);
    presence.for_each_run(start, end, piece.copied_only, |start, end, is_in_memory| {
        if piece.stays && is_in_memory {
            // SAFETY: pages that are there, in private memory, while no thread of the program runs that could take them away, or write.
            look(start, unsafe { words_at(start, end) });
            return;
        }
        let mut at = start;
        while at < end && works {
            let wanted = (end - at).min(window.count * WORD);
            let Some(came) = copy(window, at, wanted) else {
                works = false;
                return;
            };
            let words = came / WORD;
            look(at, &window.slice()[..words]);
            at += words * WORD;
            if came < wanted {
                // The page can't be read.
                at = (at + 1).next_multiple_of(PAGE_BYTES);
            }
        }
    });
    works
}

/// Copies as much as can be read; gives how many bytes. None if the system refuses.
fn copy(window: &mut Scratch<u64>, from: usize, bytes: usize) -> Option<usize> {
    let to = libc::iovec { iov_base: window.start.cast(), iov_len: bytes };
    // In pages, as the kernel copies whole parts or nothing of them.
    let mut parts = [libc::iovec { iov_base: null_mut(), iov_len: 0 }; WINDOW_WORDS * WORD / PAGE_BYTES + 1];
    let mut count = 0;
    let mut at = from;
    while at < from + bytes {
        let next = (at + 1).next_multiple_of(PAGE_BYTES).min(from + bytes);
        parts[count] =
            libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(at), iov_len: next - at };
        count += 1;
        at = next;
    }
    // SAFETY: the window has room for as much.
    match unsafe { read_parts(&to, &parts[..count]) } {
        came @ 0.. => Some(came as usize),
        _ if hk_os::Errno::get() == libc::EFAULT => Some(0),
        _ => None,
    }
}

/// # Safety
/// The memory can be read, and nobody writes to it meanwhile.
unsafe fn words_at<'a>(start: usize, end: usize) -> &'a [u64] {
    let first: *const u64 = core::ptr::with_exposed_provenance(start);
    // SAFETY: the caller's word.
    unsafe { core::slice::from_raw_parts(first, (end - start) / WORD) }
}

/// A copy of a page, if it can be read.
pub(crate) fn copy_page(from: usize) -> Option<[u64; PAGE_BYTES / WORD]> {
    let mut words = [0; PAGE_BYTES / WORD];
    let to = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: PAGE_BYTES };
    let part = libc::iovec { iov_base: core::ptr::with_exposed_provenance_mut(from), iov_len: PAGE_BYTES };
    // SAFETY: there is room for a page.
    let came = unsafe { read_parts(&to, &[part]) };
    (came == PAGE_BYTES as isize).then_some(words)
}

/// Copies parts of this process's memory to `to`; gives how many bytes.
///
/// # Safety
/// There is room for as much as the parts have, and nobody else uses it.
unsafe fn read_parts(to: &libc::iovec, parts: &[libc::iovec]) -> isize {
    // The thread's number, as the process's first thread may have left, and has no memory then.
    let process = hk_recorder::tid() as libc::pid_t;
    let count = parts.len() as libc::c_ulong;
    // SAFETY: the kernel writes to that room alone, by the caller's word.
    unsafe { libc::process_vm_readv(process, to, 1, parts.as_ptr(), count, 0) }
}
