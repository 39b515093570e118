//! Size classes: which sizes share a span, and how a span of each is cut.
//!
//! Steps of 16 bytes up to 128, then [`STEPS_PER_DOUBLING`] per doubling up to [`CLASS_BYTES_MAX`]. Every
//! size is a multiple of 16, so every block is aligned to 16 as glibc gives. Spans of blocks up to
//! [`DENSE_BYTES_MAX`] are one slice, with as many blocks as fit; above, a span has at most 64 blocks in one
//! word, and at least [`SPARSE_BLOCKS_MIN`].

use crate::word::BLOCKS_PER_WORD;

/// log2 of a slice's bytes.
pub const SLICE_SHIFT: u32 = 16;
/// A slice: the unit of spans.
pub const SLICE_BYTES: usize = 1 << SLICE_SHIFT;
/// Largest size that has a class; larger blocks are spans of their own.
pub const CLASS_BYTES_MAX: usize = 32 << 10;
/// Largest block of which a span is one slice with many words.
pub const DENSE_BYTES_MAX: usize = 1 << 10;
/// Fewest blocks of a span of larger ones.
pub const SPARSE_BLOCKS_MIN: usize = 8;
/// Classes per doubling above 128 bytes.
pub const STEPS_PER_DOUBLING: usize = 1 << STEP_SHIFT;
const STEP_SHIFT: u32 = 3;
const FINE_BYTES_MAX: usize = 128;
/// All block sizes are multiples of this.
pub const UNIT_BYTES: usize = 16;
const FINE_STEP: usize = UNIT_BYTES;
const FINE_CLASSES: usize = FINE_BYTES_MAX / FINE_STEP;
const FINE_SHIFT: u32 = FINE_BYTES_MAX.trailing_zeros();
/// Number of classes.
pub const CLASS_COUNT: usize =
    FINE_CLASSES + STEPS_PER_DOUBLING * (CLASS_BYTES_MAX.trailing_zeros() - FINE_SHIFT) as usize;

/// How the spans of a class are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size of a block, in bytes.
    pub block_bytes: u32,
    /// Blocks of a span.
    pub block_count: u32,
    /// Slices of a span.
    pub slices: u32,
    /// Words of a span that have blocks.
    pub words: u32,
    /// Words that indices of addresses in the first slice can lead to: those behind `words` are all absent.
    pub padded_words: u32,
    /// Bits of the last word whose block does not exist.
    pub absent: u64,
    /// ceil(2^32 / block_bytes): see [`block_index`].
    pub inverse: u64,
    /// Most blocks that a refill makes available in one word.
    pub expose_max: u32,
    /// Blocks of a page, but never below [`EXPOSE_BLOCKS_MIN`]: so many that were never used a visit exposes at first.
    pub page_blocks: u32,
    /// So many free blocks make a span worth a visit.
    pub share: u32,
}

/// All classes, by index.
pub static CLASSES: [Geometry; CLASS_COUNT] = {
    let mut classes = [geometry_of(FINE_STEP); CLASS_COUNT];
    let mut class = 0;
    while class < CLASS_COUNT {
        classes[class] = geometry_of(class_bytes(class));
        class += 1;
    }
    classes
};

/// Sizes up to this are looked up, above they are computed.
pub const TABLE_BYTES_MAX: usize = 8 << 10;

/// The class for a size of so many [`UNIT_BYTES`].
pub const fn class_of_units(units: usize) -> usize {
    compute_class(units * UNIT_BYTES)
}

/// The class for a size of at most [`CLASS_BYTES_MAX`].
#[inline]
pub fn class_of(bytes: usize) -> usize {
    debug_assert!(bytes <= CLASS_BYTES_MAX);
    compute_class(bytes)
}

/// The size of the block that serves a request of `bytes`.
pub fn rounded(bytes: usize) -> usize {
    match bytes {
        0..=CLASS_BYTES_MAX => CLASSES[class_of(bytes)].block_bytes as usize,
        _ => bytes.div_ceil(SLICE_BYTES).saturating_mul(SLICE_BYTES),
    }
}

/// The smallest class for a size whose blocks are all aligned to `align` (a power of two), if there is one.
pub fn class_of_aligned(bytes: usize, align: usize) -> Option<usize> {
    if bytes > CLASS_BYTES_MAX || align > CLASS_BYTES_MAX {
        return None;
    }
    // Spans start at a multiple of 64 KiB, so a block size that is a multiple of `align` is enough.
    (class_of(bytes.max(align))..CLASS_COUNT)
        .find(|&class| (CLASSES[class].block_bytes as usize).is_multiple_of(align))
}

const fn compute_class(bytes: usize) -> usize {
    if bytes <= FINE_BYTES_MAX {
        return if bytes == 0 { 0 } else { (bytes - 1) / FINE_STEP };
    }
    let last = bytes - 1;
    let doubling = last.ilog2();
    let step = (last >> (doubling - STEP_SHIFT)) & (STEPS_PER_DOUBLING - 1);
    FINE_CLASSES + (doubling - FINE_SHIFT) as usize * STEPS_PER_DOUBLING + step
}

const fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        return (class + 1) * FINE_STEP;
    }
    let coarse = class - FINE_CLASSES;
    let base = FINE_BYTES_MAX << (coarse / STEPS_PER_DOUBLING);
    base + (coarse % STEPS_PER_DOUBLING + 1) * (base >> STEP_SHIFT)
}

const fn geometry_of(bytes: usize) -> Geometry {
    let dense = bytes <= DENSE_BYTES_MAX;
    let slices = if dense { 1 } else { (bytes * SPARSE_BLOCKS_MIN).div_ceil(SLICE_BYTES) };
    let fit = slices * SLICE_BYTES / bytes;
    let blocks = if dense || fit < BLOCKS_PER_WORD { fit } else { BLOCKS_PER_WORD };
    Geometry {
        block_bytes: bytes as u32,
        block_count: blocks as u32,
        slices: slices as u32,
        words: blocks.div_ceil(BLOCKS_PER_WORD) as u32,
        padded_words: ((SLICE_BYTES - 1) / bytes / BLOCKS_PER_WORD + 1) as u32,
        absent: if blocks % BLOCKS_PER_WORD == 0 { 0 } else { !0 << (blocks % BLOCKS_PER_WORD) },
        inverse: inverse_of(bytes),
        expose_max: expose_max(bytes),
        page_blocks: at_least(PAGE_BYTES / bytes, EXPOSE_BLOCKS_MIN),
        share: at_least(blocks / SHARE, 1),
    }
}

/// A refill makes at most this many bytes available, so that a thread that frees what it just got reuses
/// memory that is still in its cache. Never below [`EXPOSE_BLOCKS_MIN`]: that is the shortest way from a
/// free to the block's reuse.
const EXPOSE_BYTES_MAX: usize = 32 << 10;
const EXPOSE_BLOCKS_MIN: usize = 4;

const fn expose_max(bytes: usize) -> u32 {
    let blocks = at_least(EXPOSE_BYTES_MAX / bytes, EXPOSE_BLOCKS_MIN);
    if blocks > BLOCKS_PER_WORD as u32 { BLOCKS_PER_WORD as u32 } else { blocks }
}

const fn at_least(blocks: usize, min: usize) -> u32 {
    if blocks < min { min as u32 } else { blocks as u32 }
}

/// What the system gives and takes memory by, at the least (x86-64 and most others).
pub const PAGE_BYTES: usize = 4 << 10;

/// A visit looks at all words of a span, so it should find a few blocks in each: an eighth of them.
const SHARE: usize = 8;

/// ceil(2^32 / bytes).
pub const fn inverse_of(bytes: usize) -> u64 {
    (1u64 << 32).div_ceil(bytes as u64)
}

/// The block that begins `distance` bytes from the start of a span's first slice, by one multiplication; None
/// if none begins there. The index is not checked against the span's count.
///
/// With inverse = ceil(2^32/b), b <= 2^15 and distance < 2^16, the product's upper half is the quotient, and its
/// lower half is below the inverse exactly if the division leaves no rest (Lemire, Kaser, Kurz: "Faster
/// remainder by direct computation", 2019; a test goes through all classes and distances).
#[inline(always)]
pub fn block_index(distance: u16, inverse: u64) -> Option<usize> {
    let product = u64::from(distance) * inverse;
    if product as u32 >= inverse as u32 { None } else { Some((product >> 32) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for bytes in 0..=CLASS_BYTES_MAX {
            let class = class_of(bytes);
            assert!(CLASSES[class].block_bytes as usize >= bytes);
            assert!(class == 0 || (CLASSES[class - 1].block_bytes as usize) < bytes, "{bytes}");
            assert_eq!(class_of_units(bytes.div_ceil(UNIT_BYTES)), class);
        }
    }

    #[test]
    fn geometries_fit_their_spans() {
        for g in &CLASSES {
            assert_eq!(g.block_bytes % 16, 0);
            assert!(g.block_bytes * g.block_count <= g.slices * SLICE_BYTES as u32, "{g:?}");
            assert!(
                g.slices > 1
                    || (g.block_count + 1) * g.block_bytes > SLICE_BYTES as u32
                    || g.block_count == 64,
                "{g:?}"
            );
            assert_eq!(g.words * 64 - g.block_count, g.absent.count_ones(), "{g:?}");
            assert!(g.words as usize <= 64 && g.block_count > 0, "{g:?}");
        }
    }

    /// Every byte offset of every class's first slice, against the division.
    #[test]
    fn reciprocal_is_exact_for_all_classes_and_offsets() {
        for g in &CLASSES {
            let step = if cfg!(miri) { 97 } else { 1 };
            for distance in (0..=u16::MAX).step_by(step) {
                let (index, rest) =
                    (u32::from(distance) / g.block_bytes, u32::from(distance) % g.block_bytes);
                let expected = (rest == 0).then_some(index as usize);
                assert_eq!(block_index(distance, g.inverse), expected, "{distance} of {}", g.block_bytes);
                assert!(index < g.padded_words * 64);
            }
        }
    }

    #[test]
    fn aligned_classes_are_multiples() {
        for align in (4..=15).map(|s| 1usize << s) {
            for bytes in [0, 1, 100, 4000, 20_000] {
                let class = class_of_aligned(bytes, align).unwrap();
                assert_eq!(CLASSES[class].block_bytes as usize % align, 0);
                assert!(CLASSES[class].block_bytes as usize >= bytes);
            }
        }
        assert_eq!(class_of_aligned(1, 64 << 10), None);
    }
}
