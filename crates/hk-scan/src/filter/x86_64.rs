//! Four words at a time, by AVX2 (Intel's manual, volume 2: VPSUBQ, VPCMPGTQ).

use super::{AddressRange, Found, GROUP, portable};
use core::arch::x86_64::{
    __cpuid, __cpuid_count, __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_castsi256_pd, _mm256_cmpgt_epi64,
    _mm256_loadu_si256, _mm256_movemask_pd, _mm256_or_si256, _mm256_set1_epi64x, _mm256_sub_epi64,
    _mm256_testz_si256, _xgetbv,
};

/// Comparisons are signed: this makes an order of unsigned numbers one of signed ones.
const SIGN: usize = 1 << 63;
/// CPUID leaf 1, ECX: the system saves vector registers, and says which (Intel's manual, volume 1, 14.3).
const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
/// CPUID leaf 7, EBX.
const AVX2: u32 = 1 << 5;
/// XCR0: registers of 128 and of 256 bits.
const XMM_AND_YMM: u64 = 6;

/// A cache line.
const LINE_WORDS: usize = 8;
/// So far ahead memory is asked for: the processor's own streams end with each page.
const AHEAD_WORDS: usize = 256;

/// Whether the processor has AVX2 and the system saves its registers.
pub(super) fn has_avx2() -> bool {
    let has = |register: u32, bits: u32| register & bits == bits;
    __cpuid(0).eax >= 7
        && has(__cpuid(1).ecx, OSXSAVE_AND_AVX)
        && has(__cpuid_count(7, 0).ebx, AVX2)
        // SAFETY: OSXSAVE says that the instruction is there.
        && unsafe { saved_registers() } & XMM_AND_YMM == XMM_AND_YMM
}

#[target_feature(enable = "xsave")]
fn saved_registers() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}

/// See [`super::Filter::find`].
///
/// # Safety
/// So many words can be read, and the processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn find(
    words: *const usize,
    count: usize,
    range: AddressRange,
    found: &mut Found,
    give: &mut impl FnMut(&mut [usize]),
) {
    // start <= word < start + bytes, as (word - start - 2^63) < (bytes - 2^63), signed.
    let start = _mm256_set1_epi64x((range.start ^ SIGN) as i64);
    let limit = _mm256_set1_epi64x((range.bytes ^ SIGN) as i64);
    let mut nth = 0;
    while nth + GROUP <= count {
        let group = words.wrapping_add(nth);
        for line in [0, LINE_WORDS] {
            _mm_prefetch::<_MM_HINT_T0>(group.wrapping_add(AHEAD_WORDS + line).cast());
        }
        let hits = [0, 4, 8, 12].map(|four| {
            // SAFETY: within the words that the caller gives. That others may write at the same time is no matter of the processor's; a torn read
            // of an aligned word there is not.
            let four = unsafe { _mm256_loadu_si256(group.wrapping_add(four).cast::<__m256i>()) };
            _mm256_cmpgt_epi64(limit, _mm256_sub_epi64(four, start))
        });
        let any = _mm256_or_si256(_mm256_or_si256(hits[0], hits[1]), _mm256_or_si256(hits[2], hits[3]));
        if _mm256_testz_si256(any, any) == 0 {
            take(group, bits_of(hits), range, found);
            found.give_if_full(give);
        }
        nth += GROUP;
    }
    while nth + 4 <= count {
        let four = words.wrapping_add(nth);
        // SAFETY: as above.
        let loaded = unsafe { _mm256_loadu_si256(four.cast::<__m256i>()) };
        let hits = _mm256_cmpgt_epi64(limit, _mm256_sub_epi64(loaded, start));
        if _mm256_testz_si256(hits, hits) == 0 {
            take(four, _mm256_movemask_pd(_mm256_castsi256_pd(hits)), range, found);
            found.give_if_full(give);
        }
        nth += 4;
    }
    // SAFETY: the caller's word, for what is left.
    unsafe { portable::find(words.wrapping_add(nth), count - nth, range, found, give) };
}

/// A bit for each word of a group.
#[target_feature(enable = "avx2")]
fn bits_of(hits: [__m256i; 4]) -> i32 {
    let bits = |four: usize| _mm256_movemask_pd(_mm256_castsi256_pd(hits[four])) << (4 * four);
    bits(0) | bits(1) | bits(2) | bits(3)
}

/// The words of a group, of which some seemed to lie in the range.
fn take(group: *const usize, mut mask: i32, range: AddressRange, found: &mut Found) {
    while mask != 0 {
        let word = group.wrapping_add(mask.trailing_zeros() as usize);
        mask &= mask - 1;
        // SAFETY: one of those that were read just now.
        let value = unsafe { word.read_volatile() };
        // Somebody may have written meanwhile.
        if range.contains(value) {
            found.push(value);
        }
    }
}
