//! How a thread heap learns that others freed its blocks.
//!
//! Each span has a [`Pending`]: one bit per word that has remote frees, and a link. Whoever turns that set
//! from empty to non-empty owns the link and puts the span on its owner's [`Mailbox`]; until the drainer
//! takes it from there nobody else writes the link, neither span creation nor retirement. So a span is on at most
//! one mailbox, once. A span may change hands while it is on its way: the drainer reads the owner first and
//! sends the span on if it is not its own, and drops the set if the span is in nobody's hands.
//!
//! Thread heaps are immortal and change hands whole: [`HeapState`]. A freer looks at the owner's state after
//! its push; if the owner is an orphan it drains the mailbox in its stead.

use crate::signal_safe::fence_after_rmw;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Index of a span: the number of its first slice.
pub type SpanIndex = u32;
/// Index of a thread heap.
pub type HeapIndex = u32;

/// A span's part of the protocol.
#[derive(Debug)]
#[repr(C)]
pub struct Pending {
    words: AtomicU64,
    /// Next span + 1 on the mailbox.
    next: AtomicU32,
}

/// A thread heap's part of the protocol.
#[derive(Debug)]
#[repr(C)]
pub struct Mailbox {
    /// First span + 1, so that zeroed memory is an empty mailbox.
    head: AtomicU32,
    state: AtomicU32,
}

/// Who may act as a heap's owner. The generation counts forks: a heap that was running in the parent of this
/// process is nobody's here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapState {
    /// Never used.
    New,
    /// Its thread.
    Running,
    /// Nobody: the thread ended.
    Orphan,
    /// Somebody drains it, or takes it over.
    Busy,
    /// Was running or busy in another process, before a fork: its own words are whole, its lists are not.
    Stale,
}

/// Where the protocol finds spans and heaps.
pub trait Directory {
    /// The span's pending set.
    fn pending(&self, span: SpanIndex) -> &Pending;
    /// The heap that owns the span, if it is in use.
    fn owner(&self, span: SpanIndex) -> Option<HeapIndex>;
    /// The heap's mailbox.
    fn mailbox(&self, heap: HeapIndex) -> &Mailbox;
}

impl Pending {
    /// Nothing pending.
    #[cfg(hk_loom)]
    #[expect(clippy::new_without_default, reason = "only models make them")]
    pub fn new() -> Self {
        Pending { words: AtomicU64::new(0), next: AtomicU32::new(0) }
    }

    /// Adds a word; true if the set was empty, that is, if the caller has to send the span to its owner.
    fn add(&self, words: u64) -> bool {
        // AcqRel: the remote bits set before are seen by who takes the set.
        self.words.fetch_or(words, Ordering::AcqRel) == 0
    }

    /// Takes the whole set. From here on another freer may own the link.
    pub fn take(&self) -> u64 {
        self.words.swap(0, Ordering::AcqRel)
    }

    /// Whether anything is pending.
    pub fn is_empty(&self) -> bool {
        self.words.load(Ordering::Acquire) == 0
    }
}

const STATE_BITS: u32 = 2;
const RUNNING: u32 = 1;
const ORPHAN: u32 = 2;
const BUSY: u32 = 3;

const fn encode(state: u32, generation: u32) -> u32 {
    (generation << STATE_BITS) | state
}

impl Mailbox {
    /// The mailbox of a heap that was never used.
    #[cfg(not(hk_loom))]
    pub const fn unused() -> Mailbox {
        Mailbox { head: AtomicU32::new(0), state: AtomicU32::new(0) }
    }

    /// An empty mailbox of a running heap.
    #[cfg(hk_loom)]
    pub fn running(generation: u32) -> Self {
        Mailbox { head: AtomicU32::new(0), state: AtomicU32::new(encode(RUNNING, generation)) }
    }

    /// The state as seen in fork generation `generation`.
    pub fn state(&self, generation: u32) -> HeapState {
        decode(self.state.load(Ordering::Acquire), generation)
    }

    /// Takes the heap over from `from` to `to`; false if somebody else was faster.
    pub fn transfer(&self, from: HeapState, to: HeapState, generation: u32) -> bool {
        let old = self.state.load(Ordering::Acquire);
        if decode(old, generation) != from {
            return false;
        }
        let new = match to {
            HeapState::Running => encode(RUNNING, generation),
            HeapState::Orphan => encode(ORPHAN, generation),
            HeapState::Busy => encode(BUSY, generation),
            HeapState::New | HeapState::Stale => unreachable!("no heap becomes new or stale"),
        };
        // AcqRel: the heap's own fields travel with its state. The fence is for `send` below.
        let won = self.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok();
        fence_after_rmw();
        won
    }

    /// Whether spans wait.
    #[inline]
    pub fn has_mail(&self) -> bool {
        // Relaxed: a hint; the drain itself acquires.
        self.head.load(Ordering::Relaxed) != 0
    }

    fn push(&self, span: SpanIndex, pending: &Pending) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the exchange below. The link is ours (module head).
            pending.next.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, span + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Forgets what waits; only in a fork child with one thread, before [`resend`].
    pub fn clear(&self) {
        self.head.store(0, Ordering::Relaxed);
    }
}

fn decode(value: u32, generation: u32) -> HeapState {
    let same = value >> STATE_BITS == generation & (u32::MAX >> STATE_BITS);
    match (value & ((1 << STATE_BITS) - 1), same) {
        (0, _) => HeapState::New,
        (RUNNING, true) => HeapState::Running,
        (BUSY, true) => HeapState::Busy,
        (ORPHAN, _) => HeapState::Orphan,
        _ => HeapState::Stale,
    }
}

/// A remote freer tells the owner of `span` that its word `word` has remote frees. Gives the heap whose
/// mailbox the span went to, if it did: the caller then looks whether that heap is an orphan.
pub fn announce(directory: &impl Directory, span: SpanIndex, word: u32) -> Option<HeapIndex> {
    if directory.pending(span).add(1 << word) { send(directory, span) } else { None }
}

/// In a fork child with one thread, after all mailboxes were cleared: sends a span whose set is not empty.
pub fn resend(directory: &impl Directory, span: SpanIndex) {
    send(directory, span);
}

/// Sends a span whose set the caller turned non-empty (or took from a mailbox) to its present owner.
fn send(directory: &impl Directory, span: SpanIndex) -> Option<HeapIndex> {
    let pending = directory.pending(span);
    loop {
        if let Some(heap) = directory.owner(span) {
            directory.mailbox(heap).push(span, pending);
            // With the fence in `transfer`: either the ending thread sees the push, or we see the orphan.
            fence_after_rmw();
            return Some(heap);
        }
        // The span was retired: the bits are stray. Empty the set, unless it got a new owner meanwhile.
        let words = pending.take();
        fence_after_rmw();
        if directory.owner(span).is_none() || words == 0 || !pending.add(words) {
            return None;
        }
    }
}

/// The owner (or who acts for it) empties its mailbox: `fold(span, words)` for each span of its own. A span that changed hands is sent
/// on, and `sent_on` told to whom: as for [`announce`], the caller looks whether that heap is an orphan.
pub fn drain(
    directory: &impl Directory,
    me: HeapIndex,
    mut fold: impl FnMut(SpanIndex, u64),
    mut sent_on: impl FnMut(HeapIndex),
) {
    // AcqRel: acquires the links and sets behind the head.
    let mut next = directory.mailbox(me).head.swap(0, Ordering::AcqRel);
    while next != 0 {
        let span = next - 1;
        let pending = directory.pending(span);
        // Read the link before the set is taken: after that it may be another's.
        next = pending.next.load(Ordering::Relaxed);
        if directory.owner(span) == Some(me) {
            fold(span, pending.take());
        } else if let Some(owner) = send(directory, span) {
            sent_on(owner);
        }
    }
}
