//! Opening and closing pages.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use hk_os::{GuardOs, Purged};

/// Ranges beyond this are closed by protection: to put a guard into each page table entry would take longer than a mapping costs.
const GUARD_BYTES_MAX: usize = 64 << 20;
/// Mappings that protection may split off: the kernel grants a process 65,530 (vm.max_map_count), which are the program's too.
pub(crate) const PROTECTED_MAX: usize = 8192;

/// What closing a range came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Guard pages.
    ByGuards,
    /// By protection; its memory may not have gone.
    ByProtection {
        /// It reads as zero when it is opened again.
        is_zero: bool,
    },
    /// It is open still.
    Not {
        /// It reads as zero, unless somebody writes to it.
        is_zero: bool,
    },
}

/// How pages are closed, and what of it there is.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The system has no guard pages.
    by_protection: AtomicBool,
    /// Ranges that are closed by protection: each may be a mapping of its own. At least: neighbours share theirs.
    protected: AtomicUsize,
}

impl Pages {
    pub(crate) const fn new() -> Self {
        Pages { by_protection: AtomicBool::new(false), protected: AtomicUsize::new(0) }
    }

    /// From now on by protection alone.
    pub(crate) fn use_protection(&self) {
        self.by_protection.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_by_protection(&self) -> bool {
        self.by_protection.load(Ordering::Relaxed)
    }

    /// Whether any range may be closed by protection.
    pub(crate) fn are_protected(&self) -> bool {
        self.is_by_protection() || self.protected.load(Ordering::Relaxed) > 0
    }

    /// How many blocks can be guarded at a time, at most.
    pub(crate) fn blocks_max(&self) -> usize {
        if self.is_by_protection() { PROTECTED_MAX } else { usize::MAX }
    }

    /// Makes a range inaccessible and gives its memory back, as far as that can be done.
    ///
    /// # Safety
    /// The range is committed, or closed, and its contents are no longer needed.
    pub(crate) unsafe fn close(&self, os: &impl GuardOs, start: NonNull<u8>, bytes: usize) -> Closed {
        let by_guards = !self.is_by_protection() && bytes <= GUARD_BYTES_MAX;
        // SAFETY: the caller's word.
        if by_guards && unsafe { os.install_guard(start, bytes) } {
            return Closed::ByGuards;
        }
        // SAFETY: as above. Before it is denied, as it has to be committed.
        let is_zero = unsafe { os.purge(start, bytes) } == Purged::Zeroed;
        // Locked memory has no guard pages, so these come on top; where protection is the rule, blocks are counted.
        if !self.is_by_protection() && self.protected.fetch_add(1, Ordering::Relaxed) >= PROTECTED_MAX {
            self.protected.fetch_sub(1, Ordering::Relaxed);
            return Closed::Not { is_zero };
        }
        // SAFETY: as above.
        match unsafe { os.deny(start, bytes) } {
            true => Closed::ByProtection { is_zero },
            false => Closed::Not { is_zero },
        }
    }

    /// A range that was closed by protection is open again.
    pub(crate) fn note_permitted(&self) {
        if !self.is_by_protection() {
            let less = |count: usize| count.checked_sub(1);
            let _ = self.protected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Takes the guards of a range away; where protection is the rule, its protection. False if the system refuses. What was closed by protection
    /// as an exception its slot knows.
    ///
    /// # Safety
    /// The range was committed once.
    pub(crate) unsafe fn open(&self, os: &impl GuardOs, start: NonNull<u8>, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        // SAFETY: the caller's word.
        if self.is_by_protection() && !unsafe { os.permit(start, bytes) } {
            return false;
        }
        // SAFETY: as above.
        self.is_by_protection() || unsafe { os.remove_guard(start, bytes) }
    }

    /// The same for single pages. False if the system does not know how, or refuses.
    ///
    /// # Safety
    /// As [`Pages::open`].
    pub(crate) unsafe fn open_pages(&self, os: &impl GuardOs, pages: &[NonNull<u8>]) -> bool {
        // SAFETY: the caller's word.
        unsafe { os.remove_guards(pages) }
    }
}
