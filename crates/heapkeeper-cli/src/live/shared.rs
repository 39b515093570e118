//! The first part of a recording as memory: header, process table, and the ring of answers.

#![allow(unsafe_code, reason = "memory that is shared with other processes")]

use hk_format::{CONTROL_OFFSET, Control, FileHeader, RING_BYTES, ring_offset};
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// See the module head. Others write to it at any time: all accesses are atomic.
pub struct Shared {
    start: NonNull<u8>,
    bytes: usize,
    ring: usize,
    /// Open, as it holds the lock.
    file: File,
}

/// One of the control words of 32 bits, by its offset in [`Control`].
#[derive(Clone, Copy)]
pub struct Field(usize);

pub const PID: Field = Field(offset_of!(Control, pid));
pub const READER: Field = Field(offset_of!(Control, reader_pid));
pub const REASON: Field = Field(offset_of!(Control, reason));
pub const BEAT: Field = Field(offset_of!(Control, beat));
pub const WRITTEN: Field = Field(offset_of!(Control, written));
pub const READ: Field = Field(offset_of!(Control, read));

impl Shared {
    /// Maps a recording with a table of so many entries, whose header was found valid.
    pub fn map(file: File, process_capacity: u32) -> io::Result<Shared> {
        let ring = ring_offset(process_capacity) as usize;
        let bytes = ring + RING_BYTES;
        // Behind a file's end memory can't be touched.
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::other("it is cut short"));
        }
        let (access, null) = (libc::PROT_READ | libc::PROT_WRITE, std::ptr::null_mut());
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
        let start = unsafe { libc::mmap(null, bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Shared { start, bytes, ring, file })
    }

    /// Takes the lock that whoever asks has to have; false if another has it. It is given back when this is dropped, and when this process dies.
    pub fn lock(&self) -> io::Result<bool> {
        // SAFETY: our own descriptor.
        if unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        }
    }

    /// The word that requests are made by.
    pub fn request(&self) -> &AtomicU64 {
        self.u64(CONTROL_OFFSET)
    }

    pub fn word(&self, field: Field) -> &AtomicU32 {
        let place = self.at(offset_of!(FileHeader, control) + field.0).cast::<u32>();
        // SAFETY: inside the mapping, aligned to 4 (repr(C)), and accessed atomically by all.
        unsafe { AtomicU32::from_ptr(place) }
    }

    /// What goes with a refusal.
    pub fn detail(&self) -> u64 {
        self.u64(offset_of!(FileHeader, control) + offset_of!(Control, detail)).load(Ordering::Relaxed)
    }

    fn u64(&self, offset: usize) -> &AtomicU64 {
        let place = self.at(offset).cast::<u64>();
        // SAFETY: inside the mapping, aligned to 8 (repr(C)), and accessed atomically by all.
        unsafe { AtomicU64::from_ptr(place) }
    }

    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.bytes);
        self.start.as_ptr().wrapping_add(offset)
    }

    /// Copies from the ring; `start` and the buffer's length as [`hk_format::ring_piece`] gives them.
    pub fn copy_from_ring(&self, start: usize, buffer: &mut [u8]) {
        assert!(start + buffer.len() <= RING_BYTES);
        for (nth, byte) in buffer.iter_mut().enumerate() {
            // SAFETY: inside the mapping; what was written there is not written to until it was said that it was read.
            let place = unsafe { AtomicU8::from_ptr(self.at(self.ring + start + nth)) };
            *byte = place.load(Ordering::Relaxed);
        }
    }

    /// Gives back what the ring takes on the disk. That it can't be is no harm.
    pub fn empty_ring(&self) {
        let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (start, bytes) = (self.ring as libc::off_t, RING_BYTES as libc::off_t);
        // SAFETY: our own descriptor; nobody has anything to read or to write there.
        unsafe { libc::fallocate(self.file.as_raw_fd(), how, start, bytes) };
    }

    /// Sleeps until another process has changed a word from `expected`, if it has not already.
    pub fn wait(&self, field: Field, expected: u32, patience: Duration) {
        let timeout = libc::timespec {
            tv_sec: patience.as_secs() as libc::time_t,
            tv_nsec: patience.subsec_nanos() as libc::c_long,
        };
        let word = self.word(field).as_ptr();
        // SAFETY: the kernel reads the word and the time, which live through the call.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, &raw const timeout) };
    }

    /// Wakes who sleeps so.
    pub fn wake(&self, field: Field) {
        // SAFETY: the kernel takes the address as a key only.
        unsafe { libc::syscall(libc::SYS_futex, self.word(field).as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody uses any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
