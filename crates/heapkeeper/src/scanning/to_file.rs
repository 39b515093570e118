//! A snapshot that the program itself asks for: to a file.

use super::image::{Target, make_image};
use super::sink::Shared;
use crate::process::{Host, ProcessHeap};
use core::ffi::CStr;
use core::fmt;
use core::sync::atomic::Ordering;
use hk_format::Refusal;
use hk_os::{ImageState, Linux, Os, system_call};

/// Longest path, with what is put behind it until the file is whole.
const PATH_BYTES_MAX: usize = 4096;
const UNFINISHED: &[u8] = b".unfinished";

/// Why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The system refused something about the file: an errno.
    File(i32),
    /// The process could not be forked: an errno.
    Fork(i32),
    /// A thread did not stop in time, as it blocks all signals or is stopped itself: its id.
    Thread(u32),
    /// Another snapshot, or a look for leaks, was going on.
    Busy,
    /// It was ended by a signal, perhaps as memory ran short.
    Killed(i32),
    /// A sandbox forbids it, or the system has not what it takes (Linux 5.9, /proc), or there was no memory.
    Refused,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::File(errno) => write!(f, "the file cannot be written: error {errno}"),
            SnapshotError::Fork(errno) => write!(f, "the process could not be forked: error {errno}"),
            SnapshotError::Thread(thread) => write!(f, "thread {thread} did not stop in time"),
            SnapshotError::Busy => f.write_str("another snapshot, or a look for leaks, was going on"),
            SnapshotError::Killed(signal) => write!(f, "what wrote it was ended by signal {signal}"),
            SnapshotError::Refused => {
                f.write_str("a sandbox forbids it, or the system has not what it takes")
            }
        }
    }
}

impl core::error::Error for SnapshotError {}

/// Of the process, and of the image.
fn error_of(reason: Refusal, detail: u64) -> SnapshotError {
    match reason {
        Refusal::NoFork => SnapshotError::Fork(detail as i32),
        Refusal::ThreadNoAnswer => SnapshotError::Thread(detail as u32),
        Refusal::ScanGoesOn => SnapshotError::Busy,
        _ => SnapshotError::Refused,
    }
}

impl<H: Host> ProcessHeap<H> {
    /// Writes a snapshot to a file, which is put in its place once it is whole; gives for how long all threads stood still, in nanoseconds. The calling thread
    /// waits until all is written, the others go on.
    ///
    /// # Errors
    /// Then the file is as it was.
    pub(crate) fn snapshot_to_file(&'static self, path: &CStr) -> Result<u64, SnapshotError> {
        let _errno = hk_os::Errno::keep();
        let mut beside = [0; PATH_BYTES_MAX];
        let beside = unfinished(path, &mut beside).ok_or(SnapshotError::File(libc::ENAMETOOLONG))?;
        let file = open_new(beside)?;
        let written = self.write_snapshot(file);
        // SAFETY: our own descriptor, closed once.
        unsafe { system_call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]) };
        let place = written.and_then(|stop_ns| rename(beside, path).map(|()| stop_ns));
        if place.is_err() {
            // SAFETY: a path that ends with NUL.
            unsafe { system_call(libc::SYS_unlink, [beside.as_ptr().addr(), 0, 0, 0, 0, 0]) };
        }
        place
    }

    fn write_snapshot(&'static self, file: u32) -> Result<u64, SnapshotError> {
        self.start().ok_or(SnapshotError::Refused)?;
        self.heap.notice_fork();
        let shared = SharedPage::new().ok_or(SnapshotError::Refused)?;
        let mask = Linux.block_signals();
        let made = make_image(self, Target::File(file, shared.get()));
        Linux.restore_signals(mask);
        let (image, stop_ns) = made.map_err(|(reason, detail)| error_of(reason, detail))?;
        shared.get().stop_ns.store(stop_ns.max(1), Ordering::Release);
        let ended = hk_os::wait_for_image(image);
        let told = |word: &core::sync::atomic::AtomicU32| word.load(Ordering::Acquire);
        match (ended, told(&shared.get().errno), Refusal::from_u32(told(&shared.get().reason))) {
            (ImageState::Ended(signal @ 1..), ..) => Err(SnapshotError::Killed(signal)),
            (_, errno @ 1.., _) => Err(SnapshotError::File(errno as i32)),
            (_, _, Some(reason)) => Err(error_of(reason, 0)),
            _ if told(&shared.get().is_done) == 1 => Ok(stop_ns),
            _ => Err(SnapshotError::Refused),
        }
    }
}

/// Memory that the process and its image have together.
struct SharedPage(*mut libc::c_void);

impl SharedPage {
    fn new() -> Option<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
        let page = unsafe { libc::mmap(core::ptr::null_mut(), size_of::<Shared>(), access, kind, -1, 0) };
        (page != libc::MAP_FAILED).then_some(SharedPage(page))
    }

    fn get(&self) -> &Shared {
        // SAFETY: our own mapping, all zeros at first, which are valid; both sides have it as atomics.
        unsafe { &*self.0.cast::<Shared>() }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe { libc::munmap(self.0, size_of::<Shared>()) };
    }
}

/// A path beside another one.
fn unfinished<'a>(path: &CStr, buffer: &'a mut [u8; PATH_BYTES_MAX]) -> Option<&'a CStr> {
    let path = path.to_bytes();
    let end = path.len() + UNFINISHED.len();
    buffer.get_mut(..path.len())?.copy_from_slice(path);
    buffer.get_mut(path.len()..end)?.copy_from_slice(UNFINISHED);
    CStr::from_bytes_until_nul(&buffer[..]).ok()
}

/// Opens a file for its owner alone, and empty.
fn open_new(path: &CStr) -> Result<u32, SnapshotError> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let open = [libc::AT_FDCWD as usize, path.as_ptr().addr(), flags as usize, 0o600, 0, 0];
    // SAFETY: a path that ends with NUL.
    done(unsafe { system_call(libc::SYS_openat, open) }).map(|file| file as u32)
}

fn rename(from: &CStr, to: &CStr) -> Result<(), SnapshotError> {
    let paths = [from.as_ptr().addr(), to.as_ptr().addr(), 0, 0, 0, 0];
    // SAFETY: paths that end with NUL.
    done(unsafe { system_call(libc::SYS_rename, paths) }).map(|_| ())
}

fn done(result: isize) -> Result<usize, SnapshotError> {
    usize::try_from(result).map_err(|_| SnapshotError::File(-result as i32))
}
