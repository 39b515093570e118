//! What only the system itself can tell: its limits, and whether the kernel has a feature, by trying it.

#![allow(
    unsafe_code,
    reason = "system calls that no safe interface offers; each is tried on memory of its own"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

/// Bytes of memory that a feature is tried on.
const TRIAL_BYTES: usize = 4096;
/// madvise: a page that traps without a mapping of its own (Linux 6.13).
const MADV_GUARD_INSTALL: i32 = 102;
/// _IOWR('f', 16, struct pm_scan_arg) (Linux 6.7).
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
/// A category of PAGEMAP_SCAN: the page is present.
const PAGE_IS_PRESENT: u64 = 1 << 3;
/// _IOWR(0xaa, 0x3f, struct uffdio_api).
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
/// The version of the interface.
const UFFD_API: u64 = 0xaa;
/// userfaultfd for faults in user mode only, which needs no privilege.
const UFFD_USER_MODE_ONLY: i32 = 1;
/// Write protection that the kernel lifts by itself (Linux 6.7).
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;

/// The soft limit of a resource (RLIMIT_AS, RLIMIT_DATA) in bytes; None: no limit.
pub fn limit_bytes(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid place for the call to write one rlimit to.
    let failed = unsafe { libc::getrlimit(resource, &mut limit) } != 0;
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Tries to map a file's start as code, as the loader maps a library; a mount with noexec refuses that.
pub fn map_as_code(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing; nothing in it is run.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), TRIAL_BYTES, protection, flags, file.as_raw_fd(), 0) };
    match NonNull::new(at) {
        Some(at) if at.as_ptr() != libc::MAP_FAILED => drop(Trial(at)),
        _ => return Err(io::Error::last_os_error()),
    }
    Ok(())
}

/// Tries to make a page trap (MADV_GUARD_INSTALL).
pub fn guard_pages() -> io::Result<()> {
    Trial::new()?.advise(MADV_GUARD_INSTALL)
}

/// Tries to have pages made in one call (MADV_POPULATE_WRITE).
pub fn populate_write() -> io::Result<()> {
    Trial::new()?.advise(libc::MADV_POPULATE_WRITE)
}

/// Tries to list the present pages of a range (PAGEMAP_SCAN).
pub fn pagemap_scan() -> io::Result<()> {
    /// struct pm_scan_arg of linux/fs.h.
    #[repr(C)]
    struct Argument {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        regions: u64,
        region_count: u64,
        page_count_max: u64,
        inverted: u64,
        all_of: u64,
        any_of: u64,
        returned: u64,
    }
    let pagemap = std::fs::File::open("/proc/self/pagemap")?;
    let trial = Trial::new()?;
    let start = trial.0.as_ptr() as u64;
    let mut regions = [[0u64; 3]; 1];
    let mut argument = Argument {
        size: size_of::<Argument>() as u64,
        flags: 0,
        start,
        end: start + TRIAL_BYTES as u64,
        walk_end: 0,
        regions: regions.as_mut_ptr() as u64,
        region_count: 1,
        page_count_max: 0,
        inverted: 0,
        all_of: 0,
        any_of: PAGE_IS_PRESENT,
        returned: PAGE_IS_PRESENT,
    };
    // SAFETY: the argument is the structure that this request takes; `regions` has room for the one region it names.
    let result = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &mut argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tries to open a userfaultfd whose write protection the kernel lifts by itself (UFFD_FEATURE_WP_ASYNC).
pub fn userfault_write_protection() -> io::Result<()> {
    /// struct uffdio_api of linux/userfaultfd.h.
    #[repr(C)]
    struct Argument {
        api: u64,
        features: u64,
        ioctls: u64,
    }
    // SAFETY: the call takes flags alone and gives a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut argument = Argument { api: UFFD_API, features: UFFD_FEATURE_WP_ASYNC, ioctls: 0 };
    // SAFETY: the argument is the structure that this request takes.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, &mut argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One page of memory that nothing else uses, given back when it goes out of scope.
struct Trial(NonNull<libc::c_void>);

impl Trial {
    fn new() -> io::Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice replaces nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), TRIAL_BYTES, protection, flags, -1, 0) };
        match NonNull::new(at) {
            Some(at) if at.as_ptr() != libc::MAP_FAILED => Ok(Trial(at)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is the mapping of this value, and no reference into it exists.
        let result = unsafe { libc::madvise(self.0.as_ptr(), TRIAL_BYTES, advice) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing else knows of it.
        unsafe { libc::munmap(self.0.as_ptr(), TRIAL_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_map_as_code_where_the_mount_allows_it() {
        map_as_code(&std::env::current_exe().unwrap()).unwrap();
        // procfs is mounted noexec.
        assert!(map_as_code(Path::new("/proc/self/maps")).is_err());
    }

    #[test]
    fn an_advice_that_does_not_exist_is_refused() {
        let error = Trial::new().unwrap().advise(-1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
