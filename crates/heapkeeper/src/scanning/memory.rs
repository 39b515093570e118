//! Memory to work with, which is never the heap's, and a look at memory that may vanish meanwhile.

use core::ptr::null_mut;
use core::sync::atomic::AtomicU64;

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
const PAGE_BYTES: usize = 4096;

/// Calls `look` with copies of the words of a piece of memory, some at a time, as far as it can be read: by the kernel, for which memory that is
/// not there is no fault (process_vm_readv(2)). What can't be read is left out, by pages.
pub(crate) fn look_at(window: &mut Scratch<u64>, start: usize, bytes: usize, mut look: impl FnMut(&[u64])) {
    let (mut at, end) = (start.next_multiple_of(WORD), start + bytes);
    while at < end {
        let wanted = (end - at).min(window.count * WORD);
        let came = copy(window, at, wanted);
        let words = came / WORD;
        look(&window.slice()[..words]);
        at += words * WORD;
        if came < wanted {
            // The page can't be read.
            at = (at + 1).next_multiple_of(PAGE_BYTES);
        }
    }
}

/// Copies as much as can be read; gives how many bytes.
fn copy(window: &mut Scratch<u64>, from: usize, bytes: usize) -> usize {
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
    // SAFETY: no arguments.
    let process = unsafe { libc::getpid() };
    let count = count as libc::c_ulong;
    // SAFETY: the kernel writes to the window alone, which has room for as much.
    let came = unsafe { libc::process_vm_readv(process, &raw const to, 1, parts.as_ptr(), count, 0) };
    came.max(0) as usize
}
