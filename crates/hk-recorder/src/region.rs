//! Memory of our own, mapped when it is first wanted: words that are accessed atomically only.
//!
//! It takes address space, and memory as it is touched. A fork child has its own copy of it, as it was.
#![allow(unsafe_code, reason = "views of its own mapping")]

use crate::sys;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use hk_format::PAGE_BYTES;

/// How often the size is halved where a limit on address space does not allow for it.
const HALVINGS_MAX: usize = 3;
/// There is no memory to be had.
const REFUSED: usize = 1;

/// A region; mapped once, and never unmapped.
pub(crate) struct Region {
    /// 0 before the first use, [`REFUSED`], or the address plus twice the number of halvings.
    state: AtomicUsize,
    bytes: usize,
}

/// A region's words, mapped.
#[derive(Clone, Copy)]
pub(crate) struct Words(&'static [AtomicU64]);

impl Region {
    /// A region of so many bytes, a multiple of eight pages.
    pub(crate) const fn new(bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(PAGE_BYTES << HALVINGS_MAX));
        Region { state: AtomicUsize::new(0), bytes }
    }

    /// Its words, if they are mapped.
    #[inline(always)]
    pub(crate) fn words(&self) -> Option<Words> {
        // Acquire: pairs with the release in `map`, although the kernel's zeros are all that is behind it.
        let state = self.state.load(Ordering::Acquire);
        if state <= REFUSED { None } else { Some(self.view(state)) }
    }

    /// Its words, mapped now if they were not; None if the system refuses.
    #[inline(always)]
    pub(crate) fn words_or_map(&self) -> Option<Words> {
        // Acquire: as in `words`.
        match self.state.load(Ordering::Acquire) {
            0 => self.map(),
            REFUSED => None,
            state => Some(self.view(state)),
        }
    }

    #[cold]
    #[inline(never)]
    fn map(&self) -> Option<Words> {
        let mapped = (0..=HALVINGS_MAX).find_map(|halvings| {
            let len = self.bytes >> halvings;
            sys::map_private(len).ok().map(|start| (start, len, start | (halvings << 1)))
        });
        let ours = mapped.map_or(REFUSED, |(.., state)| state);
        // Release: nobody looks into the mapping before it is there. Acquire on failure: as in `words`.
        match self.state.compare_exchange(0, ours, Ordering::Release, Ordering::Acquire) {
            Ok(_) => {
                let (start, len, _) = mapped?;
                sys::exclude_from_core_dumps(start, len);
                self.words()
            }
            // Another thread, or a signal handler that interrupted this one, was first.
            Err(_) => {
                if let Some((start, len, _)) = mapped {
                    // SAFETY: the mapping was made just now and handed to nobody.
                    unsafe { sys::unmap(start, len) };
                }
                self.words()
            }
        }
    }

    #[inline(always)]
    fn view(&self, state: usize) -> Words {
        let halvings = state % PAGE_BYTES / 2;
        let start = core::ptr::with_exposed_provenance::<AtomicU64>(state - state % PAGE_BYTES);
        let len = (self.bytes >> halvings) / size_of::<AtomicU64>();
        // SAFETY: `map` has mapped so many bytes there, zeroed, for good; they are accessed through this view
        // only, and page-aligned.
        Words(unsafe { core::slice::from_raw_parts(start, len) })
    }
}

impl Words {
    /// How many there are.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// One of them.
    #[inline(always)]
    pub(crate) fn at(self, index: usize) -> Option<&'static AtomicU64> {
        self.0.get(index)
    }

    /// Some of them; None if there are not so many.
    #[inline(always)]
    pub(crate) fn part(self, start: usize, len: usize) -> Option<&'static [AtomicU64]> {
        self.0.get(start..start.checked_add(len)?)
    }
}
