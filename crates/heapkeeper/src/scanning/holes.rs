//! What of the heap's addresses can't be read: beside what is not in use, pages of blocks that the program protects itself (mprotect) or has
//! given away.

use super::memory::Scratch;
use hk_recorder::for_each_readable_mapping;

/// A program that has more is not scanned.
const HOLES_MAX: usize = 1 << 16;

/// See the module head.
pub(crate) struct Holes {
    /// First address and end of each, in order, one behind the other.
    words: Scratch<u64>,
    count: usize,
}

impl Holes {
    pub(crate) fn new() -> Option<Self> {
        Some(Holes { words: Scratch::new(2 * HOLES_MAX)?, count: 0 })
    }

    /// Where its memory lies.
    pub(crate) fn place(&self) -> (usize, usize) {
        self.words.place()
    }

    /// Looks where there are holes between two addresses. False if that can't be found out.
    pub(crate) fn look(&mut self, start: usize, bytes: usize) -> bool {
        let end = start + bytes;
        let mut at = start;
        let listed = for_each_readable_mapping(|mapping| {
            if mapping.end > at && mapping.start < end {
                self.add(at, mapping.start);
                at = mapping.end;
            }
        });
        self.add(at, end);
        listed && self.count <= HOLES_MAX
    }

    fn add(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        if let Some([first, last]) = self.words.slice_mut().get_mut(2 * self.count..2 * self.count + 2) {
            (*first, *last) = (start as u64, end as u64);
        }
        self.count += 1;
    }

    /// The holes, as first addresses and ends, in order.
    pub(crate) fn list(&self) -> &[[u64; 2]] {
        let (holes, _) = self.words.slice()[..2 * self.count].as_chunks();
        holes
    }
}
