//! Which pages are written to, as the kernel keeps count: userfaultfd(2) in its asynchronous write-protect mode, and PAGEMAP_SCAN
//! (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst). The program's writes go on; the first one to a page costs it a fault.
//!
//! Soft-dirty bits (CONFIG_MEM_SOFT_DIRTY) were rejected: where they are compiled out, the kernel takes the request and reports nothing.

use super::PAGE_BYTES;
use super::bare::system_call;
use core::ffi::c_int;
use core::ptr::null_mut;

/// UFFD_USER_MODE_ONLY (Linux 5.11): needs no privilege.
const USER_MODE_ONLY: usize = 1;
/// `_IOWR(0xAA, ...)` of linux/userfaultfd.h.
const UFFDIO_API: usize = 0xC018_AA3F;
const UFFDIO_REGISTER: usize = 0xC020_AA00;
const UFFDIO_UNREGISTER: usize = 0x8010_AA01;
const UFFD_API: u64 = 0xAA;
/// UFFD_FEATURE_WP_ASYNC.
const WP_ASYNC: u64 = 1 << 15;
/// UFFDIO_REGISTER_MODE_WP.
const MODE_WP: u64 = 2;
/// `_IOWR('f', 16, struct pm_scan_arg)` of linux/fs.h.
const PAGEMAP_SCAN: usize = 0xC060_6610;
/// PM_SCAN_WP_MATCHING.
const WP_MATCHING: u64 = 1;
/// PAGE_IS_WRITTEN.
const IS_WRITTEN: u64 = 1 << 1;
/// Runs of pages that are asked for at once.
const RUNS: usize = 256;
/// A descriptor's number is at least this: programs close or replace low ones.
const DESCRIPTOR_MIN: usize = 512;

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    runs: u64,
    run_count: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}
const _: () = assert!(size_of::<ScanArguments>() == 96);

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Run {
    start: u64,
    end: u64,
    categories: u64,
}

/// Tracks writes to the memory of this process while it is there.
#[derive(Debug)]
pub struct WriteTracker {
    faults: c_int,
    pages: c_int,
}

impl WriteTracker {
    /// None where the system does not know how, or refuses.
    pub fn new() -> Option<WriteTracker> {
        let flags = libc::O_CLOEXEC as usize | USER_MODE_ONLY;
        // SAFETY: makes a descriptor.
        let faults = moved_up(unsafe { system_call(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0]) })?;
        let path = c"/proc/thread-self/pagemap";
        let arguments = [
            libc::AT_FDCWD as usize,
            path.as_ptr().addr(),
            (libc::O_RDONLY | libc::O_CLOEXEC) as usize,
            0,
            0,
            0,
        ];
        // SAFETY: a path that ends with NUL.
        let Some(pages) = moved_up(unsafe { system_call(libc::SYS_openat, arguments) }) else {
            close(faults);
            return None;
        };
        let tracker = WriteTracker { faults, pages };
        let mut api = [UFFD_API, WP_ASYNC, 0];
        tracker.control(UFFDIO_API, &mut api).then_some(tracker)
    }

    /// The descriptors, for a fork child, which has copies of them.
    pub fn descriptors(&self) -> [c_int; 2] {
        [self.faults, self.pages]
    }

    /// Begins to track a range of pages, all of one mapping or of some. False if the system refuses: nothing is known of it then.
    pub fn watch(&self, start: usize, bytes: usize) -> bool {
        let mut range = [start as u64, bytes as u64, MODE_WP, 0];
        self.control(UFFDIO_REGISTER, &mut range)
    }

    /// Ends it.
    pub fn unwatch(&self, start: usize, bytes: usize) {
        let mut range = [start as u64, bytes as u64];
        self.control(UFFDIO_UNREGISTER, &mut range);
    }

    /// All pages of a watched range count as not written to from now on. False if that can't be said.
    pub fn forget_writes(&self, start: usize, bytes: usize) -> bool {
        // Asked for the runs too, which nobody needs: without them the kernel also marks pages that are not there, and marks look like pages that are
        // swapped out (fs/proc/task_mmu.c, pagemap_scan_pmd_entry).
        self.for_each_written(start, bytes, true, |_, _| ())
    }

    /// Calls `found` with each run of pages that were written to since that was said last: start and end. With `forget` they count as not written
    /// to from here on. Pages that are not watched are among them if there is anything there. False if that can't be told.
    pub fn for_each_written(
        &self,
        start: usize,
        bytes: usize,
        forget: bool,
        found: impl FnMut(usize, usize),
    ) -> bool {
        let mut runs = [Run { start: 0, end: 0, categories: 0 }; RUNS];
        self.scan(start, bytes, if forget { WP_MATCHING } else { 0 }, &mut runs, found)
    }

    fn scan(
        &self,
        start: usize,
        bytes: usize,
        flags: u64,
        runs: &mut [Run],
        mut found: impl FnMut(usize, usize),
    ) -> bool {
        let end = (start + bytes) as u64;
        let mut at = start as u64;
        while at < end {
            let mut arguments = ScanArguments {
                size: size_of::<ScanArguments>() as u64,
                flags,
                start: at,
                end,
                walk_end: 0,
                runs: if runs.is_empty() { 0 } else { runs.as_mut_ptr().expose_provenance() as u64 },
                run_count: runs.len() as u64,
                pages_max: 0,
                inverted: 0,
                all_of: IS_WRITTEN,
                any_of: 0,
                returned: IS_WRITTEN,
            };
            let place = (&raw mut arguments).expose_provenance();
            // SAFETY: the kernel reads the arguments, writes to them, and to as many runs as they say.
            let count =
                unsafe { system_call(libc::SYS_ioctl, [self.pages as usize, PAGEMAP_SCAN, place, 0, 0, 0]) };
            if count < 0 || arguments.walk_end <= at {
                return false;
            }
            let count = (count as usize).min(runs.len());
            runs[..count].iter().for_each(|run| found(run.start as usize, run.end as usize));
            at = arguments.walk_end;
        }
        true
    }

    fn control<const N: usize>(&self, request: usize, argument: &mut [u64; N]) -> bool {
        let place = argument.as_mut_ptr().expose_provenance();
        // SAFETY: the kernel reads and writes as many bytes as the request has, which is the size of the argument.
        unsafe { system_call(libc::SYS_ioctl, [self.faults as usize, request, place, 0, 0, 0]) == 0 }
    }
}

impl Drop for WriteTracker {
    fn drop(&mut self) {
        close(self.faults);
        close(self.pages);
    }
}

/// Whether the system does what is asked of a [`WriteTracker`], as tried on some pages.
pub fn tracks_writes() -> bool {
    const PAGES: usize = 4;
    const WRITTEN: [usize; 2] = [1, 3];
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let bytes = PAGES * PAGE_BYTES;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
    let start = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return false;
    }
    let touch = |page: usize| {
        let place = start.cast::<u8>().wrapping_add(page * PAGE_BYTES);
        // SAFETY: in our own mapping. Volatile, as nobody reads it.
        unsafe { place.write_volatile(1) };
    };
    (0..PAGES).for_each(touch);
    let mut told = [false; PAGES];
    let works = WriteTracker::new().is_some_and(|tracker| {
        let watches = tracker.watch(start.addr(), bytes) && tracker.forget_writes(start.addr(), bytes);
        WRITTEN.into_iter().for_each(touch);
        let tells = tracker.for_each_written(start.addr(), bytes, true, |from, to| {
            let pages = (from - start.addr()) / PAGE_BYTES..(to - start.addr()) / PAGE_BYTES;
            told[pages].fill(true);
        });
        let mut again = false;
        let tells = tells && tracker.for_each_written(start.addr(), bytes, false, |_, _| again = true);
        tracker.unwatch(start.addr(), bytes);
        watches && tells && !again
    });
    // SAFETY: our own mapping, which nobody uses any more.
    unsafe { libc::munmap(start, bytes) };
    works && (0..PAGES).all(|page| told[page] == WRITTEN.contains(&page))
}

/// Gives a descriptor a high number. None if there is none.
fn moved_up(descriptor: isize) -> Option<c_int> {
    if descriptor < 0 {
        return None;
    }
    let arguments = [descriptor as usize, libc::F_DUPFD_CLOEXEC as usize, DESCRIPTOR_MIN, 0, 0, 0];
    // SAFETY: makes a descriptor of another.
    let moved = unsafe { system_call(libc::SYS_fcntl, arguments) };
    if moved < 0 {
        // So many are not allowed.
        return Some(descriptor as c_int);
    }
    close(descriptor as c_int);
    Some(moved as c_int)
}

fn close(descriptor: c_int) {
    // SAFETY: our own descriptor, closed once.
    unsafe { system_call(libc::SYS_close, [descriptor as usize, 0, 0, 0, 0, 0]) };
}

/// In a fork child: closes what it has of its parent's.
pub fn close_inherited(descriptors: [c_int; 2]) {
    descriptors.into_iter().for_each(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pages: usize) -> *mut u8 {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), pages * PAGE_BYTES, access, kind, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        start.cast()
    }

    fn written(tracker: &WriteTracker, start: *mut u8, pages: usize, forget: bool) -> Vec<usize> {
        let mut list = Vec::new();
        assert!(tracker.for_each_written(start.addr(), pages * PAGE_BYTES, forget, |from, to| {
            list.extend((from..to).step_by(PAGE_BYTES).map(|page| (page - start.addr()) / PAGE_BYTES));
        }));
        list
    }

    fn touch(start: *mut u8, page: usize) {
        // SAFETY: within the mapping.
        unsafe { start.wrapping_add(page * PAGE_BYTES).write_volatile(1) };
    }

    #[test]
    fn pages_that_are_written_to_are_told() {
        let Some(tracker) = WriteTracker::new() else {
            assert!(!tracks_writes());
            eprintln!("skipped: this kernel has no asynchronous write protection (Linux 6.7), or forbids it");
            return;
        };
        let start = map(64);
        (0..32).for_each(|page| touch(start, page));
        assert!(tracker.watch(start.addr(), 64 * PAGE_BYTES));
        assert!(tracker.forget_writes(start.addr(), 64 * PAGE_BYTES));
        assert_eq!(written(&tracker, start, 64, false), [0; 0]);
        [3, 4, 31, 40].into_iter().for_each(|page| touch(start, page));
        assert_eq!(written(&tracker, start, 64, false), [3, 4, 31, 40], "also what was not there before");
        assert_eq!(written(&tracker, start, 64, true), [3, 4, 31, 40]);
        assert_eq!(written(&tracker, start, 64, true), [0; 0]);
        // SAFETY: the mapping's own pages.
        unsafe { libc::madvise(start.cast(), PAGE_BYTES, libc::MADV_DONTNEED) };
        touch(start, 0);
        assert_eq!(written(&tracker, start, 64, true), [0], "what was given back and came again");
        tracker.unwatch(start.addr(), 64 * PAGE_BYTES);
        assert!(tracks_writes());
        touch(start, 9);
        assert!(written(&tracker, start, 64, false).contains(&9), "what is not watched counts as written to");
    }
}
