//! The mapped file as a range of atomics.
//!
//! Several processes write here at once, so every access is atomic, of the width that the format gives the
//! field, at an offset that is checked against the mapping. That makes all the rest of this crate safe code.
#![allow(unsafe_code, reason = "views of shared memory")]

use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A part of a shared mapping that is made of atomics alone, in the format's layout.
///
/// # Safety
/// The type must consist of atomics (no padding, nothing invalid in any bit pattern), aligned to 8 at most.
pub(crate) unsafe trait AllAtomic {}

/// The mapping. Set once; never unmapped afterwards, as threads may be anywhere.
pub(crate) struct Mapping {
    base: AtomicPtr<u8>,
    len: AtomicUsize,
}

impl Mapping {
    /// No mapping yet.
    pub(crate) const fn new() -> Self {
        Mapping { base: AtomicPtr::new(core::ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// Takes a mapping over; false if there is one already.
    ///
    /// # Safety
    /// `len` bytes at `base` (page-aligned) must be mapped shared and writable, and stay so for the rest of
    /// the process.
    pub(crate) unsafe fn set(&self, base: usize, len: usize) -> bool {
        if !self.is_set() && self.len.compare_exchange(0, len, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.base.store(core::ptr::with_exposed_provenance_mut(base), Ordering::Release);
            return true;
        }
        false
    }

    /// Whether there is one.
    pub(crate) fn is_set(&self) -> bool {
        !self.base.load(Ordering::Acquire).is_null()
    }

    /// First address, 0 if there is none.
    pub(crate) fn base(&self) -> usize {
        self.base.load(Ordering::Acquire) as usize
    }

    /// The 32-bit field at `offset`.
    pub(crate) fn u32(&self, offset: usize) -> Option<&AtomicU32> {
        let field = self.field(offset, 4)?.cast::<u32>();
        // SAFETY: in bounds and aligned (checked by `field`), mapped for good, and accessed atomically only.
        Some(unsafe { AtomicU32::from_ptr(field) })
    }

    /// The 64-bit field at `offset`.
    pub(crate) fn u64(&self, offset: usize) -> Option<&AtomicU64> {
        let field = self.field(offset, 8)?.cast::<u64>();
        // SAFETY: as above.
        Some(unsafe { AtomicU64::from_ptr(field) })
    }

    /// The group of fields at `offset`.
    pub(crate) fn group<T: AllAtomic>(&self, offset: usize) -> Option<&T> {
        let group = self.part(offset, size_of::<T>(), 8)?.cast::<T>();
        // SAFETY: in bounds, aligned to 8, mapped for good, and made of atomics alone (`AllAtomic`).
        Some(unsafe { &*group })
    }

    /// Stores `bytes` from `offset` on; nothing if they do not fit.
    pub(crate) fn store(&self, offset: usize, bytes: &[u8]) {
        let Some(start) = self.part(offset, bytes.len(), 1) else { return };
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: `part` has checked that all of `bytes` fits from `start` on.
            let at = unsafe { start.add(i) };
            // SAFETY: mapped for good; no other width is used on this byte at the same time, as it belongs
            // to the record's or entry's claimer alone until its state is set.
            unsafe { AtomicU8::from_ptr(at) }.store(byte, Ordering::Relaxed);
        }
    }

    /// Loads into `bytes` from `offset` on; leaves them alone if they are out of bounds.
    pub(crate) fn load(&self, offset: usize, bytes: &mut [u8]) {
        let Some(start) = self.part(offset, bytes.len(), 1) else { return };
        for (i, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: `part` has checked that all of `bytes` fits from `start` on.
            let at = unsafe { start.add(i) };
            // SAFETY: as in `store`.
            *byte = unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Relaxed);
        }
    }

    fn field(&self, offset: usize, width: usize) -> Option<*mut u8> {
        self.part(offset, width, width)
    }

    /// Bytes mapped; 0 while nothing is.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn part(&self, offset: usize, len: usize, align: usize) -> Option<*mut u8> {
        let base = self.base.load(Ordering::Acquire);
        let fits = offset.checked_add(len)? <= self.len.load(Ordering::Relaxed);
        (!base.is_null() && fits && offset.is_multiple_of(align)).then(|| base.wrapping_add(offset))
    }
}
