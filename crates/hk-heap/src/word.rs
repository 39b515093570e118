//! The ledger: the states of 64 blocks in four words, and every legal move between them.
//!
//! A block is one bit. It is in at most one of the four sets, but for the moment of a move:
//!
//! ```text
//!                    take (malloc)
//!        avail ───────────────────────▶ (no bit: live)
//!          ▲                              │        │         │
//!   expose │ owner, at a refill           │        │         │
//!          │                   free_local │        │ free_   │ retain
//!        freed ◀──────────────────────────┘        │ remote  │
//!          ▲            claim (owner)              ▼         ▼
//!          └─────────────────────────────────── remote ◀─ quarantine
//!                                                  release (a sweep)
//! ```
//!
//! Who may write: `avail` and `freed` belong to the thread that owns the span (see [`crate::signal_safe`]);
//! `remote` and `quarantine` to anyone (read-modify-writes only). A block that does not exist (the tail of a
//! span with fewer than 64 blocks) is `freed` for ever, so that it can be neither freed nor handed out.
//!
//! A double free is a bit that is already somewhere. Two frees that race are told apart as follows. Two
//! remote ones: by the old value of `fetch_or`. A remote one and the owner's: the owner claims remote bits by
//! an RMW *before* it files them under `freed`, so whoever's RMW removes a bit from `remote` is its arbiter.
//! The freer, after its `fetch_or` and a fence, looks at `freed` and `avail`. A block that is there has either
//! been claimed meanwhile, or was free before. It was free before if its bit is still in `remote` and the span's
//! count of claims stands still: then the freer takes its bit back, and reports if the bit was still its to
//! take. Otherwise the owner claimed it, and the owner's look at `freed` and `avail` decides. The owner fences before it reads `remote` at a refill, so of
//! the two threads at least one sees the other (Dekker), and before a block can be handed out twice.

use crate::signal_safe;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use core::mem::offset_of;

/// Blocks per word.
pub const BLOCKS_PER_WORD: usize = 64;

/// 64 blocks. The four sets share a cache line: a remote freer needs three of them at once.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Word {
    avail: AtomicU64,
    freed: AtomicU64,
    remote: AtomicU64,
    quarantine: AtomicU64,
}

/// What a claim of the owner came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Blocks that are free now and were live before.
    pub filed: u64,
    /// Blocks that were free already: second frees that raced with the first.
    pub doubles: u64,
}

/// What a free by another thread came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteFree {
    /// The block was not live; its bit was taken back.
    pub double: bool,
    /// The word's first remote bit: this freer has to announce the word to the span's owner, even if the
    /// free itself was refused, as others may rely on it.
    pub announce: bool,
}

const AVAIL: usize = offset_of!(Word, avail);
const FREED: usize = offset_of!(Word, freed);
const REMOTE: usize = offset_of!(Word, remote);

impl Word {
    /// A word without free blocks. As the sentinel's word it makes every malloc take the slow path.
    #[cfg(not(hk_loom))]
    pub const fn empty() -> Self {
        Word {
            avail: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            remote: AtomicU64::new(0),
            quarantine: AtomicU64::new(0),
        }
    }

    /// A word for a model, all blocks live but those in `freed`.
    #[cfg(hk_loom)]
    pub fn with_freed(freed: u64) -> Self {
        Word {
            avail: AtomicU64::new(0),
            freed: AtomicU64::new(freed),
            remote: AtomicU64::new(0),
            quarantine: AtomicU64::new(0),
        }
    }

    /// Makes all blocks free and unexposed, as in a new span. Only for the span's maker.
    pub fn reset(&self) {
        // Relaxed: the span is published by a release store of its header.
        self.avail.store(0, Ordering::Relaxed);
        self.freed.store(!0, Ordering::Relaxed);
        self.remote.store(0, Ordering::Relaxed);
        self.quarantine.store(0, Ordering::Relaxed);
    }

    /// Makes block 0 live and all others absent, as in a span that is one large block. Only for its maker.
    pub fn make_single_live(&self) {
        self.reset();
        self.freed.store(!1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn place(&self) -> *const u8 {
        core::ptr::from_ref(self).cast()
    }

    /// Sets bits of `freed`. Only for the owner.
    #[inline(always)]
    fn file(&self, bits: u64) {
        // SAFETY: this word's `freed`, which its owner writes.
        unsafe { signal_safe::or_field::<FREED>(self.place(), bits) };
    }

    /// malloc: takes the lowest available block. Only for the owner, whose heap is busy meanwhile: a signal handler of its
    /// thread does not take from this word.
    #[inline(always)]
    pub fn take(&self) -> Option<u32> {
        // Relaxed: nobody else writes `avail`; who reads it learns of hand-outs by whatever gave it the block.
        let bits = self.avail.load(Ordering::Relaxed);
        if bits == 0 {
            return None;
        }
        self.avail.store(bits & (bits - 1), Ordering::Relaxed);
        Some(bits.trailing_zeros())
    }

    /// free by the owner of block `index`, modulo 64. False if the block was not live.
    #[inline(always)]
    pub fn free_local(&self, index: usize) -> bool {
        if !self.is_live_locally(index) {
            return false;
        }
        self.file(signal_safe::bit(index));
        true
    }

    /// Whether block `index`, modulo 64, is live, to the owner's knowledge: not kept blocks, which only spans with a flag have.
    #[inline(always)]
    pub fn is_live_locally(&self, index: usize) -> bool {
        // Relaxed: owner's words; and a remote free that happened before this one is seen whatever the
        // ordering. A remote free that races is found at the refill, which fences.
        // SAFETY: three fields of this word.
        let others = unsafe { signal_safe::union_of_fields::<AVAIL, FREED, REMOTE>(self.place()) };
        others & signal_safe::bit(index) == 0
    }

    /// Prepares for a [`Word::live`] and a [`Word::free_remote`] by a thread that does not own the span.
    #[inline(always)]
    pub fn prefetch_for_remote(&self) {
        signal_safe::prefetch_for_write(&self.remote);
    }

    /// free by a thread that does not own the span. `claims` is the span's count of claims; `is_current` says
    /// whether the span is still the one that the freer found.
    pub fn free_remote(&self, bit: u64, claims: &AtomicU32, is_current: impl Fn() -> bool) -> RemoteFree {
        // AcqRel: what the freer wrote into the block happens before its reuse; and a later claim by the
        // owner orders the owner's earlier writes of freed and avail before the loads below.
        let before = self.remote.fetch_or(bit, Ordering::AcqRel);
        if before & bit != 0 {
            return RemoteFree { double: true, announce: false };
        }
        let announce = before == 0;
        // Dekker with `claim`: either the owner's load of remote sees our bit, or we see what it filed.
        signal_safe::fence_after_rmw();
        let double = self.is_free(bit) && self.withdraw_surplus(bit, claims, is_current);
        RemoteFree { double, announce }
    }

    /// Whether the owner has the block among its free ones.
    #[inline]
    fn is_free(&self, bit: u64) -> bool {
        // In the direction of travel: a block goes from freed to avail, so it can't slip past us.
        let freed = self.freed.load(Ordering::Acquire);
        let avail = self.avail.load(Ordering::Acquire);
        (freed | avail) & bit != 0
    }

    /// A freer met its block among the owner's free ones. Either the owner has claimed its very bit, and all is
    /// well, even if the block was handed out and freed by another since, or the block was free before. True if
    /// it was, and the freer took its bit back.
    #[cold]
    fn withdraw_surplus(&self, bit: u64, claims: &AtomicU32, is_current: impl Fn() -> bool) -> bool {
        loop {
            // Acquire, all three: a block that is in remote, then among the free ones, and no claim in between:
            // that is no right free's bit, neither ours nor another's.
            let count = claims.load(Ordering::Acquire);
            if self.remote.load(Ordering::Acquire) & bit == 0 || !self.is_free(bit) {
                return false;
            }
            if claims.load(Ordering::Relaxed) == count {
                return is_current() && self.withdraw(bit);
            }
        }
    }

    /// Takes a remote bit back. True if it was still there, that is, if the caller is its arbiter.
    pub fn withdraw(&self, bit: u64) -> bool {
        self.remote.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Whether the owner has remote bits to claim. Before it hands freed blocks of the word out again it asks and
    /// claims until the answer is no.
    #[inline(always)]
    pub fn has_remote(&self) -> bool {
        signal_safe::full_fence();
        self.has_remote_after_fence()
    }

    /// The same after a fence of the caller's: [`signal_safe::full_fence`], later than the last free and the last
    /// claim of the blocks that are to be handed out.
    #[inline(always)]
    pub fn has_remote_after_fence(&self) -> bool {
        // Dekker with `free_remote`: our own unfenced `free_local`, the fence, this load. Not what is still being released.
        let remote = self.remote.load(Ordering::Acquire);
        remote & !self.quarantine.load(Ordering::Relaxed) != 0
    }

    /// The owner takes all remote bits over, and files them under `freed`. `in_transit` is told true while they are in no set, then false. `retains`: the
    /// span's blocks are retained when they are freed.
    /// Call [`Word::has_remote`] before; nothing is wrong if it said no.
    pub fn claim(&self, claims: &AtomicU32, retains: bool, in_transit: impl Fn(bool)) -> Claimed {
        in_transit(true);
        let claimed = self.take_remote(retains);
        // Only the owner counts. Release: who reads this count finds the bits gone; who finds them filed, reads it.
        claims.store(claims.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        let doubles = claimed & (self.freed.load(Ordering::Relaxed) | self.avail.load(Ordering::Relaxed));
        // A release: a freer that sees these bits sees that they left remote before.
        self.file(claimed);
        in_transit(false);
        Claimed { filed: claimed & !doubles, doubles }
    }

    #[inline]
    fn take_remote(&self, retains: bool) -> u64 {
        if !retains {
            // AcqRel: the RMW decides who is the arbiter of each bit, and carries the freers' writes. All bits at
            // once, those that came since the load too: the next freer then finds the word empty and announces it.
            return self.remote.swap(0, Ordering::AcqRel);
        }
        // What is being released leaves quarantine last, so that no free of its next life meets the bit of its last one: so remote is read before
        // quarantine. What comes meanwhile is left: a release announces the word when it is done.
        let remote = self.remote.load(Ordering::Acquire);
        let released = remote & !self.quarantine.load(Ordering::Acquire);
        self.remote.fetch_and(!released, Ordering::AcqRel);
        released
    }

    /// The owner makes `chosen` of the freed blocks available. Call [`Word::claim`] before; `avail` is empty.
    pub fn expose(&self, chosen: u64) {
        debug_assert_eq!(self.avail.load(Ordering::Relaxed), 0);
        debug_assert_eq!(self.freed.load(Ordering::Relaxed) & chosen, chosen);
        // Set the destination, then clear the source: a reader that goes freed, avail always meets the block.
        self.avail.store(chosen, Ordering::Relaxed);
        signal_safe::and(&self.freed, !chosen);
    }

    /// The owner takes what it exposed and did not hand out back. Gives the bits.
    pub fn unexpose(&self) -> u64 {
        let avail = self.avail.load(Ordering::Relaxed);
        // Destination, then source. A freer that reads freed before and avail after this would miss the
        // block, and its free would be found at the next claim.
        self.file(avail);
        self.avail.store(0, Ordering::Release);
        avail
    }

    /// Freed blocks, and blocks that do not exist. Owner's view.
    #[inline(always)]
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    /// The blocks that malloc may take, for their owner.
    pub fn available(&self) -> u64 {
        self.avail.load(Ordering::Relaxed)
    }

    /// free where blocks are retained: the block is not handed out again until [`Word::release`]. True if it was live.
    pub fn retain(&self, bit: u64) -> bool {
        let before = self.quarantine.fetch_or(bit, Ordering::AcqRel);
        if before & bit != 0 {
            return false;
        }
        // A block that was never handed out is freed or avail; it stays there.
        let elsewhere = self.remote.load(Ordering::Acquire)
            | self.freed.load(Ordering::Acquire)
            | self.avail.load(Ordering::Acquire);
        if elsewhere & bit != 0 {
            self.quarantine.fetch_and(!bit, Ordering::AcqRel);
            return false;
        }
        true
    }

    /// Some retained blocks are free, if they still are retained. The caller announces the word to the span's owner in any case.
    pub fn release(&self, bits: u64) {
        // Destination, then source, as ever. AcqRel: what was found out about the blocks happens before their next lives.
        self.remote.fetch_or(bits, Ordering::AcqRel);
        self.quarantine.fetch_and(!bits, Ordering::AcqRel);
    }

    /// In a fork child where nobody goes on with it: ends all releases that were under way.
    pub fn end_release(&self) {
        let both = self.quarantine.load(Ordering::Relaxed) & self.remote.load(Ordering::Relaxed);
        if both != 0 {
            self.quarantine.fetch_and(!both, Ordering::AcqRel);
        }
    }

    /// The blocks that are live: in none of the four. Read in the direction of travel, so that a block on the
    /// move is met once or twice, never missed (but for `in_transit`).
    #[inline]
    pub fn live(&self) -> u64 {
        let quarantine = self.quarantine.load(Ordering::Acquire);
        let remote = self.remote.load(Ordering::Acquire);
        let freed = self.freed.load(Ordering::Acquire);
        let avail = self.avail.load(Ordering::Acquire);
        !(quarantine | remote | freed | avail)
    }

    /// The blocks that the program freed, and that are retained.
    pub fn retained(&self) -> u64 {
        // In the direction of travel. A block that is free has the bit for a moment when it is freed a second time.
        let quarantine = self.quarantine.load(Ordering::Acquire);
        let remote = self.remote.load(Ordering::Acquire);
        let freed = self.freed.load(Ordering::Acquire);
        let avail = self.avail.load(Ordering::Acquire);
        quarantine & !(remote | freed | avail)
    }

    /// The blocks that are free to be handed out, or will be, and those that do not exist.
    pub fn free(&self) -> u64 {
        let remote = self.remote.load(Ordering::Acquire);
        let freed = self.freed.load(Ordering::Acquire);
        let avail = self.avail.load(Ordering::Acquire);
        remote | freed | avail
    }

    /// Blocks that are in more than one set though nothing moves: always zero in a heap at rest.
    pub fn overlap(&self) -> u64 {
        let quarantine = self.quarantine.load(Ordering::Acquire);
        let remote = self.remote.load(Ordering::Acquire);
        let freed = self.freed.load(Ordering::Acquire);
        let avail = self.avail.load(Ordering::Acquire);
        (quarantine & (remote | freed | avail)) | (remote & (freed | avail)) | (freed & avail)
    }
}
