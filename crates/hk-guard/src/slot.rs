//! What is kept of a slot's block.
//!
//! ```text
//!           allocate              free                 the pages are closed
//!   EMPTY ───────────▶ LIVE ───────────▶ CLOSING ───────────────────────▶ FREED
//!                       ▲                                                   │
//!                       └───────────────── allocate ────────────────────────┘
//! ```
//!
//! The step from LIVE to CLOSING is a compare-and-swap, so of two racing frees one is the second. Whoever made a step has the slot until
//! the next; all fields are atomics, as a bad access may lead anybody to any slot at any time.

use crate::sync::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A slot by its number, from 1: chunk by chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId(pub u32);

/// The state of a slot: see the module head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Never used.
    Empty = 0,
    /// Its block is allocated.
    Live = 1,
    /// Its block was freed, and its pages are not closed yet.
    Closing = 2,
    /// Its block was freed, and its pages are closed.
    Freed = 3,
}

impl State {
    fn from_u32(value: u32) -> State {
        match value {
            1 => State::Live,
            2 => State::Closing,
            3 => State::Freed,
            _ => State::Empty,
        }
    }
}

/// An allocation or a free, in numbers whose meaning is the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Which stack.
    pub stack: u32,
    /// Which thread.
    pub thread: u32,
    /// When; 0: never.
    pub time_ns: u64,
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its first byte.
    pub start: usize,
    /// What was asked for.
    pub requested_bytes: usize,
    /// The alignment that was asked for.
    pub align_bytes: usize,
    /// Its pages; those around them are inaccessible.
    pub pages_start: usize,
    /// Their end.
    pub pages_end: usize,
    /// Whether it is live.
    pub is_live: bool,
    /// A number whose meaning is the caller's: which functions it came from.
    pub family: u8,
    /// The allocation.
    pub allocated: Event,
    /// The free; only if it is not live.
    pub freed: Event,
}

/// See the module head.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    state: AtomicU32,
    pub(crate) family: AtomicU8,
    /// log2 of the alignment.
    pub(crate) align: AtomicU8,
    /// [`OPENED`], [`DENIED`].
    marks: AtomicU8,
    /// The next slot in a list, as its number; 0: none.
    pub(crate) next: AtomicU32,
    /// Offset of the block in the area.
    pub(crate) start: AtomicUsize,
    pub(crate) bytes: AtomicUsize,
    alloc_stack: AtomicU32,
    free_stack: AtomicU32,
    alloc_thread: AtomicU32,
    free_thread: AtomicU32,
    alloc_time: AtomicU64,
    free_time: AtomicU64,
}

#[cfg(not(hk_loom))]
const _: () = assert!(size_of::<Slot>() == 64);

/// Pages around the block were opened after a bad access.
pub(crate) const OPENED: u8 = 1;
/// Its pages were closed by protection, with what they hold.
pub(crate) const DENIED: u8 = 2;
/// Its pages were closed by protection, without what they held.
pub(crate) const PROTECTED: u8 = 4;
/// Its pages may hold something.
pub(crate) const DIRTY: u8 = 8;
/// It is in no list of the pool: from when it was taken until it is listed again, whatever its state. Under the lock.
pub(crate) const OWNED: u8 = 16;

// All orders but those of the state and of a free's time are relaxed: the state's step publishes what was written before it.
impl Slot {
    /// As the system's zeroed memory is one.
    #[cfg(hk_loom)]
    pub(crate) fn empty() -> Self {
        Slot {
            state: AtomicU32::new(0),
            family: AtomicU8::new(0),
            align: AtomicU8::new(0),
            marks: AtomicU8::new(0),
            next: AtomicU32::new(0),
            start: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            alloc_stack: AtomicU32::new(0),
            free_stack: AtomicU32::new(0),
            alloc_thread: AtomicU32::new(0),
            free_thread: AtomicU32::new(0),
            alloc_time: AtomicU64::new(0),
            free_time: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> State {
        // Acquire: who sees a state sees what its step wrote.
        State::from_u32(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn set_state(&self, state: State) {
        // Release: as above.
        self.state.store(state as u32, Ordering::Release);
    }

    /// The step from one state to another; false if it was in none such. Acquire and release, as above.
    pub(crate) fn step(&self, from: State, to: State) -> bool {
        self.state.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn has_mark(&self, mark: u8) -> bool {
        self.marks.load(Ordering::Relaxed) & mark != 0
    }

    pub(crate) fn set_mark(&self, mark: u8) {
        self.marks.fetch_or(mark, Ordering::Relaxed);
    }

    /// Takes a mark away; true if it was there.
    pub(crate) fn take_mark(&self, mark: u8) -> bool {
        self.marks.fetch_and(!mark, Ordering::Relaxed) & mark != 0
    }

    pub(crate) fn set_allocated(&self, event: Event) {
        self.alloc_stack.store(event.stack, Ordering::Relaxed);
        self.alloc_thread.store(event.thread, Ordering::Relaxed);
        self.alloc_time.store(event.time_ns, Ordering::Relaxed);
        self.free_time.store(0, Ordering::Relaxed);
    }

    pub(crate) fn set_freed(&self, event: Event) {
        self.free_stack.store(event.stack, Ordering::Relaxed);
        self.free_thread.store(event.thread, Ordering::Relaxed);
        // Release: who sees a time sees the rest; a second free may look before the first has closed the pages.
        self.free_time.store(event.time_ns, Ordering::Release);
    }

    pub(crate) fn allocated(&self) -> Event {
        Event {
            stack: self.alloc_stack.load(Ordering::Relaxed),
            thread: self.alloc_thread.load(Ordering::Relaxed),
            time_ns: self.alloc_time.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn freed(&self) -> Event {
        // Acquire: as above.
        match self.free_time.load(Ordering::Acquire) {
            0 => Event::default(),
            time_ns => Event {
                stack: self.free_stack.load(Ordering::Relaxed),
                thread: self.free_thread.load(Ordering::Relaxed),
                time_ns,
            },
        }
    }
}
