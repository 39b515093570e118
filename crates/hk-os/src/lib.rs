//! The operating system as the heap sees it.
//!
//! [`Os`] is the whole porting surface of the heap: a dozen calls. [`Linux`] makes them for real;
//! [`Fake`] (feature `fake`) plays them on ordinary memory, so that the heap runs under Miri, in fuzzing, and
//! a thousand times per process in tests. Nothing here allocates from the heap that is served.
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code, reason = "this crate is where system calls are made")]

#[cfg(feature = "fake")]
extern crate std;

#[cfg(feature = "fake")]
mod fake;
mod linux;

#[cfg(feature = "fake")]
pub use fake::Fake;
pub use linux::{
    Context, Errno, ImageEntry, ImageState, Instruction, KernelAction, Linux, Noted, Optional, SignalStack,
    StopFailure, Stopped, Worker, WriteTracker, become_image, close_inherited, data_bytes_max, end_image,
    exchange_kernel_action, fork_image, kill_image, make_call, mapped_bytes, may, may_fork_image,
    memory_bytes_left, monotonic_ns, note_filter, note_own_memory, note_process_id, note_signal_stack,
    note_strict, now_ns, own_memory, poll_image, process_cpu_ns, program_bias, resident_bytes,
    single_thread_flag, stop_others, system_call, thread_cpu_ns, thread_name_of, thread_pagemap_of,
    tracks_writes, wait_for_image,
};

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

/// What became of pages that were given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    /// The memory is gone; the pages read as zero.
    Zeroed,
    /// The system kept them (locked memory of an old kernel): contents are undefined.
    Kept,
}

/// A thread's signal mask, as the kernel keeps it.
#[derive(Clone, Copy, Debug)]
pub struct SignalMask(pub u64);

/// The calls that the heap makes. All addresses and sizes are multiples of the page size.
///
/// # Safety
/// An implementation hands out memory that nothing else in the process uses, and keeps its contents
/// except where a method says otherwise. The heap's soundness rests on that.
pub unsafe trait Os: Sync {
    /// Reserves `bytes` of address space, aligned to 64 KiB, without access and without charge. None if the
    /// system refuses.
    fn reserve(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Gives a part of a reservation back for good.
    ///
    /// # Safety
    /// Nothing uses that part, now or later.
    unsafe fn release(&self, start: NonNull<u8>, bytes: usize);

    /// Makes a part of the reservation readable and writable; fresh parts read as zero. False if the system
    /// refuses (limits, overcommit).
    ///
    /// # Safety
    /// The range lies inside a reservation of this `Os`; if parts were committed before, nobody needs what they held.
    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// Gives the memory behind committed pages back; they stay accessible.
    ///
    /// # Safety
    /// The range is committed and its contents are no longer needed.
    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Purged;

    /// Fetches memory for committed pages, in one huge page if the system has one. A hint: contents don't change, nothing is
    /// wrong if it does nothing, and others may use the pages meanwhile.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn populate_huge(&self, start: NonNull<u8>, bytes: usize);

    /// Asks for huge pages wherever the range is touched from now on. A hint.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefer_huge(&self, start: NonNull<u8>, bytes: usize);

    /// Has huge pages in the range split of which a part was given back, so that the memory of that part is the system's at once. A hint:
    /// contents don't change.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn split_huge(&self, start: NonNull<u8>, bytes: usize);

    /// A word that is zero, and is made zero again in each fork child, however it was forked, but not in a vfork child. On a page of its
    /// own, for good. None if the system has no such pages.
    fn word_wiped_on_fork(&self) -> Option<&'static AtomicU32>;

    /// Sleeps while `word` is `expected`, at most `timeout_ms`; may wake for no reason.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout_ms: u32);

    /// Wakes one sleeper on `word`.
    fn wake_one(&self, word: &AtomicU32);

    /// A monotonic clock in milliseconds; may be coarse (4 ms).
    fn now_ms(&self) -> u64;

    /// The soft limit on the process's address space in bytes, if there is one, less what is mapped already.
    fn address_space_left(&self) -> Option<usize>;

    /// Blocks all signals of the calling thread; gives the mask as it was.
    fn block_signals(&self) -> SignalMask;

    /// Sets the calling thread's mask.
    fn restore_signals(&self, mask: SignalMask);

    /// A number that differs between any two threads that run; never 0.
    fn thread_token(&self) -> usize;

    /// A number that differs between a process and its fork child.
    fn process_id(&self) -> u32;
}

/// What guarded blocks need of the operating system besides.
///
/// # Safety
/// As [`Os`]: contents are kept except where a method says otherwise.
pub unsafe trait GuardOs: Os {
    /// Makes committed pages inaccessible and gives their memory back, without splitting their mapping. False if the system refuses: it
    /// does not know how, or the pages are locked.
    ///
    /// # Safety
    /// The range is committed and its contents are no longer needed.
    unsafe fn install_guard(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// Makes pages accessible again that [`GuardOs::install_guard`] closed; they read as zero. Others are left alone.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn remove_guard(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// [`GuardOs::remove_guard`] for several ranges of a page each, at less cost. False if some may not have been done.
    ///
    /// # Safety
    /// The pages are committed.
    unsafe fn remove_guards(&self, pages: &[NonNull<u8>]) -> bool;

    /// Makes pages accessible again that [`GuardOs::deny`] closed, with what they held. False if the system refuses.
    ///
    /// # Safety
    /// The range was committed.
    unsafe fn permit(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// Makes committed pages inaccessible until they are permitted or committed again; they keep their contents. Splits their mapping. False if the
    /// system refuses.
    ///
    /// # Safety
    /// The range lies inside a reservation, and nothing uses it.
    unsafe fn deny(&self, start: NonNull<u8>, bytes: usize) -> bool;

    /// How much memory the process may use at most, in bytes: the machine's, or what its control group allows.
    fn memory_bytes(&self) -> usize;
}
