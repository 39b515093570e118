//! System calls, made directly.
//!
//! libc's wrappers will not do here: `open`, `read`, `write` and `close` are cancellation points (a pending
//! `pthread_cancel` would unwind out of `free`), a program may define functions of these names, and all of
//! them set `errno`.
#![allow(unsafe_code, reason = "the boundary to the kernel")]

use core::ffi::CStr;
use core::sync::atomic::AtomicU32;
use hk_os::{Optional, may};

/// An error number of the system, as in `errno.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

type SysResult = Result<usize, Errno>;

/// Makes the call `number`.
///
/// # Safety
/// The arguments must be what the call wants: pointers valid for what the kernel reads and writes there, and
/// no effect on memory that Rust relies on.
unsafe fn call(number: libc::c_long, args: [usize; 6]) -> SysResult {
    // SAFETY: the caller's promise.
    let result = unsafe { hk_os::system_call(number, args) };
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

/// An open file; closed when dropped.
pub(crate) struct File(i32);

impl File {
    /// Opens `path` with `flags`, always with O_CLOEXEC.
    pub(crate) fn open(path: &CStr, flags: i32) -> Result<File, Errno> {
        let flags = flags | libc::O_CLOEXEC;
        let args = [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0, 0, 0];
        // SAFETY: the path ends with a zero byte, and the kernel only reads it.
        let fd = unsafe { call(libc::SYS_openat, args) }?;
        Ok(File(fd as i32))
    }

    /// The file's size in bytes.
    pub(crate) fn size_bytes(&self) -> Result<u64, Errno> {
        let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
        let args = [self.0 as usize, stat.as_mut_ptr() as usize, 0, 0, 0, 0];
        // SAFETY: the kernel writes one `struct stat`, for which there is room.
        unsafe { call(libc::SYS_fstat, args) }?;
        // SAFETY: all bytes are initialised: zeroed first, and all bit patterns are valid for integers.
        let stat = unsafe { stat.assume_init() };
        Ok(stat.st_size as u64)
    }

    /// Reads into `buffer`; 0 is the end of the file.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> SysResult {
        loop {
            let args = [self.0 as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
            // SAFETY: the kernel writes at most `buffer.len()` bytes, all inside the exclusive borrow.
            match unsafe { call(libc::SYS_read, args) } {
                Err(Errno(libc::EINTR)) => {}
                result => return result,
            }
        }
    }

    /// Maps the first `len` bytes, shared and writable; at an address of the kernel's choice.
    pub(crate) fn map_shared(&self, len: usize) -> SysResult {
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        // SAFETY: a new mapping where nothing is mapped yet touches no memory that anyone knows.
        let start = unsafe {
            call(libc::SYS_mmap, [0, len, protection, libc::MAP_SHARED as usize, self.0 as usize, 0])
        }?;
        hk_os::note_own_memory(start, len);
        Ok(start)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours; nothing uses it afterwards.
        let _ = unsafe { call(libc::SYS_close, [self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Maps `len` bytes of zeros, private and writable, for which no memory is set aside; at an address of the
/// kernel's choice. They are not to be made of huge pages: tables are touched here and there.
pub(crate) fn map_private(len: usize) -> SysResult {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new mapping where nothing is mapped yet touches no memory that anyone knows.
    let start = unsafe { call(libc::SYS_mmap, [0, len, protection, flags, usize::MAX, 0]) }?;
    hk_os::note_own_memory(start, len);
    if !may(Optional::Advise) {
        return Ok(start);
    }
    // SAFETY: this advice changes no contents.
    let _ = unsafe { call(libc::SYS_madvise, [start, len, libc::MADV_NOHUGEPAGE as usize, 0, 0, 0]) };
    Ok(start)
}

/// Unmaps a mapping made by [`File::map_shared`] or [`map_private`].
///
/// # Safety
/// Nothing may use the range any more.
pub(crate) unsafe fn unmap(start: usize, len: usize) {
    // SAFETY: the caller's promise.
    let _ = unsafe { call(libc::SYS_munmap, [start, len, 0, 0, 0, 0]) };
}

/// Makes the kernel back `len` bytes at page `start` for writing, or say that it cannot. Where a sandbox forbids the call it is as if the kernel
/// did not know it.
pub(crate) fn populate_write(start: usize, len: usize) -> Result<(), Errno> {
    if !may(Optional::Advise) {
        return Err(Errno(libc::EINVAL));
    }
    loop {
        // SAFETY: populating changes no contents.
        match unsafe { call(libc::SYS_madvise, [start, len, libc::MADV_POPULATE_WRITE as usize, 0, 0, 0]) } {
            Err(Errno(libc::EINTR | libc::EAGAIN)) => {}
            result => return result.map(|_| ()),
        }
    }
}

/// Sleeps until another process has changed a word of a shared mapping from `expected`, at most `timeout_ms`, if it has not already.
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, timeout_ms: u32) {
    let timeout = libc::timespec {
        tv_sec: i64::from(timeout_ms / 1000),
        tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
    };
    let wait = libc::FUTEX_WAIT as usize;
    let args = [word.as_ptr() as usize, wait, expected as usize, (&raw const timeout).addr(), 0, 0];
    // SAFETY: the kernel reads the word and the time, which live through the call.
    let _ = unsafe { call(libc::SYS_futex, args) };
}

/// Wakes who sleeps so, in whatever process.
pub(crate) fn wake_shared(word: &AtomicU32) {
    let args = [word.as_ptr() as usize, libc::FUTEX_WAKE as usize, i32::MAX as usize, 0, 0, 0];
    // SAFETY: the kernel takes the address as a key only.
    let _ = unsafe { call(libc::SYS_futex, args) };
}

/// Keeps a range out of core dumps; the recording is a file already.
pub(crate) fn exclude_from_core_dumps(start: usize, len: usize) {
    if !may(Optional::Advise) {
        return;
    }
    // SAFETY: this advice changes no contents.
    let _ = unsafe { call(libc::SYS_madvise, [start, len, libc::MADV_DONTDUMP as usize, 0, 0, 0]) };
}

/// Whether the eight bytes at `address` can be read.
///
/// The kernel copies the new signal mask from `address` before it looks at `how`, which is invalid here: so
/// nothing changes, and the error tells whether the bytes could be read. This call is allowed in nearly every
/// sandbox (`process_vm_readv` is not); false where it is not.
pub fn is_readable(address: usize) -> bool {
    if !may(Optional::SignalMask) {
        return false;
    }
    const NO_SUCH_HOW: usize = usize::MAX;
    // SAFETY: the kernel only reads, fails in any case, and reports an unreadable address as EFAULT.
    let result = unsafe { call(libc::SYS_rt_sigprocmask, [NO_SUCH_HOW, address, 0, 8, 0, 0]) };
    result == Err(Errno(libc::EINVAL))
}

/// Reads the target of a symbolic link into `buffer`, cut if it is longer.
pub(crate) fn read_link(path: &CStr, buffer: &mut [u8]) -> SysResult {
    let at = libc::AT_FDCWD as usize;
    let args = [at, path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
    // SAFETY: the path ends with a zero byte; the kernel writes at most `buffer.len()` bytes.
    unsafe { call(libc::SYS_readlinkat, args) }
}

/// The calling thread's name (comm), zero-filled; zeros where a sandbox forbids to ask for it.
pub fn thread_name() -> [u8; 16] {
    let mut name = [0u8; 16];
    if !may(Optional::ThreadName) {
        return name;
    }
    let args = [libc::PR_GET_NAME as usize, name.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: PR_GET_NAME writes 16 bytes at most.
    let _ = unsafe { call(libc::SYS_prctl, args) };
    name
}

/// Writes once to standard error; what does not fit there is lost.
pub(crate) fn write_stderr(bytes: &[u8]) {
    if !may(Optional::Write) {
        return;
    }
    // SAFETY: the kernel only reads the bytes.
    let _ = unsafe { call(libc::SYS_write, [2, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) };
}

/// Process id.
pub(crate) fn pid() -> u32 {
    no_arguments(libc::SYS_getpid)
}

/// Parent's process id.
pub(crate) fn parent_pid() -> u32 {
    no_arguments(libc::SYS_getppid)
}

/// Thread id; 0 where a sandbox forbids to ask for it.
pub fn tid() -> u32 {
    if !may(Optional::ThreadId) {
        return 0;
    }
    no_arguments(libc::SYS_gettid)
}

fn no_arguments(number: libc::c_long) -> u32 {
    // SAFETY: getpid, getppid and gettid take nothing and change nothing.
    unsafe { call(number, [0; 6]) }.unwrap_or(0) as u32
}
