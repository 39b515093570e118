//! A key with its value, shared without a lock.
//!
//! Two words that are written one after the other may be seen half old and half new, and two writers may leave
//! them so. The first word holds the key xor a scrambled value, the second the value: halves of two pairs make a
//! key that has nothing to do with either, and that is the key of some other value by a chance of 1 in 2^64.

use core::sync::atomic::{AtomicU64, Ordering};

/// A pair; key 0 means none.
pub(crate) struct Pair {
    key_and_value: AtomicU64,
    value: AtomicU64,
}

impl Pair {
    #[allow(clippy::declare_interior_mutable_const, reason = "only used to initialise tables")]
    pub(crate) const NONE: Pair = Pair { key_and_value: AtomicU64::new(0), value: AtomicU64::new(0) };

    /// The value that belongs to `key`, if the pair holds it.
    #[inline(always)]
    pub(crate) fn get(&self, key: u64) -> Option<u64> {
        // Relaxed: the two words vouch for each other, and lead to no other memory.
        let value = self.value.load(Ordering::Relaxed);
        // Relaxed: likewise.
        (self.key_and_value.load(Ordering::Relaxed) ^ scrambled(value) == key).then_some(value)
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: whoever is told a stale answer overwrites an entry of a cache.
        self.value.load(Ordering::Relaxed) == 0
    }

    /// Takes a key and its value, which is not 0, for what it held.
    pub(crate) fn set(&self, key: u64, value: u64) {
        // Relaxed: see `get`.
        self.key_and_value.store(key ^ scrambled(value), Ordering::Relaxed);
        // Relaxed: likewise.
        self.value.store(value, Ordering::Relaxed);
    }

    /// Holds nothing from now on.
    pub(crate) fn clear(&self) {
        self.set(0, 0);
    }
}

/// Spreads the difference between two values, which may be like that between two keys, over all bits.
#[inline(always)]
fn scrambled(value: u64) -> u64 {
    value.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
