//! Which parts of a block are read.

/// Of larger blocks a program may use a part, and the rest is not there. To ask for the pages of a smaller one takes as long as to read them.
const ASKED_BYTES_MIN: usize = 64 << 10;

/// Knows which pages are there. Those that are not hold nothing, and to read them takes memory and time.
pub trait PresentPages {
    /// Calls `found` with each run of pages between two addresses that are there: start and end.
    fn for_each_present(&self, start: usize, end: usize, found: &mut dyn FnMut(usize, usize));
}

/// See the module head.
#[derive(Clone, Copy, Default)]
pub(crate) struct Parts<'a> {
    /// What can't be read: first addresses and ends, in order.
    pub(crate) holes: &'a [[u64; 2]],
    pub(crate) pages: Option<&'a dyn PresentPages>,
}

impl Parts<'_> {
    /// Calls `read` with start and bytes of each part of a block.
    #[inline]
    pub(crate) fn for_each(&self, start: usize, bytes: usize, read: &mut dyn FnMut(usize, usize)) {
        match self.pages {
            Some(pages) if bytes >= ASKED_BYTES_MIN => {
                pages.for_each_present(start, start + bytes, &mut |start, end| {
                    without_holes(self.holes, start, end - start, read);
                });
            }
            _ => without_holes(self.holes, start, bytes, read),
        }
    }
}

/// Calls `read` with the parts of some memory that are not in `holes`.
fn without_holes(holes: &[[u64; 2]], start: usize, bytes: usize, read: &mut dyn FnMut(usize, usize)) {
    let (mut at, end) = (start, start + bytes);
    let first = holes.partition_point(|&[_, hole_end]| hole_end as usize <= start);
    for &[hole, hole_end] in holes[first..].iter().take_while(|&&[hole, _]| (hole as usize) < end) {
        if hole as usize > at {
            read(at, hole as usize - at);
        }
        at = (hole_end as usize).min(end);
    }
    if at < end {
        read(at, end - at);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const PAGE: usize = 4096;

    /// Every fourth page is there.
    struct EveryFourth;

    impl PresentPages for EveryFourth {
        fn for_each_present(&self, start: usize, end: usize, found: &mut dyn FnMut(usize, usize)) {
            let pages = (start / PAGE..end.div_ceil(PAGE)).filter(|page| page % 4 == 0);
            pages.for_each(|page| found((page * PAGE).max(start), ((page + 1) * PAGE).min(end)));
        }
    }

    fn parts_of(parts: &Parts<'_>, start: usize, bytes: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        parts.for_each(start, bytes, &mut |start, bytes| found.push((start, bytes)));
        found
    }

    #[test]
    fn of_a_large_block_the_pages_that_are_there_are_read_less_the_holes() {
        let holes = [[6 * PAGE as u64, 8 * PAGE as u64 + 32]];
        let parts = Parts { holes: &holes, pages: Some(&EveryFourth) };
        let expected = [
            (4 * PAGE + 16, PAGE - 16),
            (8 * PAGE + 32, PAGE - 32),
            (12 * PAGE, PAGE),
            (16 * PAGE, PAGE),
            (20 * PAGE, 16),
        ];
        assert_eq!(parts_of(&parts, 4 * PAGE + 16, ASKED_BYTES_MIN), expected);
    }

    #[test]
    fn a_small_block_is_read_whole() {
        let parts = Parts { holes: &[], pages: Some(&EveryFourth) };
        let bytes = ASKED_BYTES_MIN - 16;
        assert_eq!(parts_of(&parts, 16, bytes), [(16, bytes)]);
        assert_eq!(parts_of(&Parts::default(), 16, ASKED_BYTES_MIN), [(16, ASKED_BYTES_MIN)]);
    }
}
