//! Reading memory that may not be there.
//!
//! A damaged stack or wrong unwind information leads to addresses that were never mapped. A read asks the
//! kernel first whether it would fault, once for each page. Memory that is unmapped by another thread
//! between the question and the read would still fault; a thread's own stack, where nearly all reads go, is
//! not unmapped under it.
#![allow(unsafe_code, reason = "reads arbitrary memory of its own process")]

use crate::sys;
use hk_format::PAGE_BYTES;

/// A reader that remembers the last page that was found readable.
#[derive(Clone, Copy, Default)]
pub(crate) struct Probe {
    readable_page: usize,
}

impl Probe {
    /// The word at `address`, if it can be read.
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        let address = usize::try_from(address).ok()?;
        let last = address.checked_add(size_of::<u64>() - 1)?;
        (self.is_readable(address) && self.is_readable(last)).then(|| {
            // SAFETY: the kernel has just read these pages of our address space; any alignment is allowed.
            unsafe { core::ptr::read_unaligned(core::ptr::with_exposed_provenance::<u64>(address)) }
        })
    }

    /// Four bytes at `address`, if they can be read.
    pub(crate) fn half(&mut self, address: u64) -> Option<u32> {
        let address = usize::try_from(address).ok()?;
        let last = address.checked_add(size_of::<u32>() - 1)?;
        (self.is_readable(address) && self.is_readable(last)).then(|| {
            // SAFETY: the kernel has just read these pages of our address space; any alignment is allowed.
            unsafe { core::ptr::read_unaligned(core::ptr::with_exposed_provenance::<u32>(address)) }
        })
    }

    /// The byte at `address`, if it can be read.
    pub(crate) fn byte(&mut self, address: u64) -> Option<u8> {
        let address = usize::try_from(address).ok()?;
        self.is_readable(address).then(|| {
            // SAFETY: the kernel has just read this page of our address space.
            unsafe { core::ptr::read(core::ptr::with_exposed_provenance::<u8>(address)) }
        })
    }

    fn is_readable(&mut self, address: usize) -> bool {
        let page = address / PAGE_BYTES * PAGE_BYTES;
        if page == self.readable_page && page != 0 {
            return true;
        }
        let readable = sys::is_readable(page);
        if readable {
            self.readable_page = page;
        }
        readable
    }
}
