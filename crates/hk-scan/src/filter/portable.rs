//! One word at a time.

use super::{AddressRange, Found};
use core::sync::atomic::{AtomicUsize, Ordering};

/// See [`super::Filter::find`].
///
/// # Safety
/// So many words can be read.
pub(super) unsafe fn find(
    words: *const usize,
    count: usize,
    range: AddressRange,
    found: &mut Found,
    give: &mut impl FnMut(&mut [usize]),
) {
    for nth in 0..count {
        let word: *const AtomicUsize = words.wrapping_add(nth).cast();
        // SAFETY: the caller's word; as an atomic, as others may write.
        let word = unsafe { &*word };
        // Relaxed: whoever needs more order stops the writers.
        let value = word.load(Ordering::Relaxed);
        if range.contains(value) {
            found.push(value);
            found.give_if_full(give);
        }
    }
}
