//! Where in its pages a block stands.

use crate::layout::{Data, PAGE_BYTES};

/// malloc's alignment (System V ABI, AMD64: that of long double and of vectors).
const ALIGN_MIN: usize = 16;

/// The place of a block, as offsets in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// First byte of the block.
    pub start: usize,
    /// The pages that the block lies in; the slot's others stay inaccessible. Empty for a block of no bytes.
    pub pages: Data,
}

/// Data pages that a slot needs for a block of `bytes` at a multiple of `align`.
pub fn pages_needed(bytes: usize, align: usize) -> Option<usize> {
    let bytes = if align > PAGE_BYTES { bytes.checked_add(align - PAGE_BYTES)? } else { bytes };
    Some(bytes.div_ceil(PAGE_BYTES).max(1))
}

/// Places a block at the end of a slot's data pages, up to the slack of its alignment, or at their start. `area` is the address of the
/// area, for alignments beyond a page.
pub fn place(area: usize, data: Data, bytes: usize, align: usize, at_end: bool) -> Placement {
    let align = align.max(ALIGN_MIN);
    let start = if at_end {
        (area + data.end - bytes) / align * align - area
    } else {
        (area + data.start).next_multiple_of(align) - area
    };
    debug_assert!(data.start <= start && start + bytes <= data.end);
    let first = start / PAGE_BYTES * PAGE_BYTES;
    let end = (start + bytes).next_multiple_of(PAGE_BYTES);
    Placement { start, pages: Data { start: first.min(end), end } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: usize = 0x7000_0001_0000;

    #[test]
    fn blocks_stand_where_the_guard_is() {
        for pages in [1, 2, 3, 64] {
            let data = Data { start: 9 * PAGE_BYTES, end: (9 + pages) * PAGE_BYTES };
            for bytes in [1, 8, 13, 16, 24, 4095, 4096, 5000, 262_144] {
                for align in [1, 16, 64, 4096, 8192] {
                    if pages_needed(bytes, align).unwrap() > pages {
                        continue;
                    }
                    for at_end in [false, true] {
                        let placement = place(AREA, data, bytes, align, at_end);
                        let (start, end) = (placement.start, placement.start + bytes);
                        assert!((AREA + start).is_multiple_of(align.max(16)));
                        assert!(data.start <= start && end <= data.end);
                        assert!(placement.pages.start <= start && end <= placement.pages.end);
                        if align <= 16 {
                            assert!(if at_end { data.end - end < 16 } else { start == data.start });
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_of_no_bytes_has_no_pages() {
        let data = Data { start: 9 * PAGE_BYTES, end: 10 * PAGE_BYTES };
        let placement = place(AREA, data, 0, 1, true);
        assert_eq!(placement, Placement { start: data.end, pages: Data { start: data.end, end: data.end } });
        assert_eq!(pages_needed(usize::MAX, 8192), None);
    }
}
