//! Finds the words of a piece of memory that lie in a range of addresses.
//!
//! Memory is read at the speed of plain reading where few words are pointers; what they lead to is asked for ahead, some words at a time,
//! as misses of the cache there are what a scan costs.

mod portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The first address.
    pub start: usize,
    /// How many there are.
    pub bytes: usize,
}

impl AddressRange {
    /// Whether an address is one of them.
    #[inline(always)]
    pub fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.bytes
    }
}

/// Words that were found, a full one at a time.
pub(crate) const BATCH: usize = 64;
/// Words that are looked at together.
pub(crate) const GROUP: usize = 16;

/// Words that were found and not looked after yet: they may be of many pieces of memory.
pub struct Found {
    words: [usize; BATCH + GROUP],
    len: usize,
}

impl Default for Found {
    fn default() -> Self {
        Self::new()
    }
}

impl Found {
    /// None.
    pub const fn new() -> Self {
        Found { words: [0; BATCH + GROUP], len: 0 }
    }

    /// There is room for a group's words after each [`Found::give_if_full`].
    #[inline(always)]
    fn push(&mut self, word: usize) {
        self.words[self.len] = word;
        self.len += 1;
    }

    #[inline(always)]
    fn give_if_full(&mut self, give: &mut impl FnMut(&mut [usize])) {
        if self.len >= BATCH {
            self.give(give);
        }
    }

    /// Calls `give` with those that there are.
    pub fn give(&mut self, give: &mut impl FnMut(&mut [usize])) {
        if self.len > 0 {
            give(&mut self.words[..self.len]);
            self.len = 0;
        }
    }
}

/// How words are looked at on this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// One word at a time.
    Portable,
    /// Four at a time.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx2,
}

impl Filter {
    /// The fastest that this processor has.
    pub fn best() -> Filter {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if x86_64::has_avx2() {
            return Filter::Avx2;
        }
        Filter::Portable
    }

    /// Adds the words of a piece of memory that lie in `range` to `found`, in order, and calls `give` with them when there are many. What is no
    /// whole aligned word at either end is not looked at.
    ///
    /// # Safety
    /// The memory can be read. Others may write to it: of a word that changes meanwhile either value is seen.
    #[inline]
    pub unsafe fn find(
        self,
        start: usize,
        bytes: usize,
        range: AddressRange,
        found: &mut Found,
        give: &mut impl FnMut(&mut [usize]),
    ) {
        let first = start.next_multiple_of(size_of::<usize>());
        let count = (start + bytes).saturating_sub(first) / size_of::<usize>();
        let words: *const usize = core::ptr::with_exposed_provenance(first);
        match self {
            // SAFETY: the caller's word.
            Filter::Portable => unsafe { portable::find(words, count, range, found, give) },
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: as above; this processor has it.
            Filter::Avx2 => unsafe { x86_64::find(words, count, range, found, give) },
        }
    }
}
