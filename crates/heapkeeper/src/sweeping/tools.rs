//! What a sweep works with, and what it comes to.

use crate::process::{Host, ProcessHeap};
use crate::scanning::{Failure, Holes, Roots, STACK_ENTRIES, Scratch, WINDOW_WORDS};
use core::sync::atomic::{AtomicU64, Ordering};
use hk_heap::{Retained, SLICE_BYTES};
use hk_os::SignalStack;
use hk_scan::{Marks, Pending, SliceEntry, index_slices};

/// Other threads may make room for so many blocks more until it is looked at what there is.
const SPARE_NUMBERS: usize = 1 << 20;
/// The same for slices: what is beyond is looked at by its header.
const SPARE_SLICES: usize = 1 << 10;
/// Ranges whose writes are tracked, at most.
pub(super) const WATCHED_MAX: usize = 1 << 10;

/// What a sweep came to.
pub(super) struct Swept {
    pub(super) candidates: Retained,
    pub(super) released: Retained,
    pub(super) stop_ns: u64,
    /// In which pointers were looked for.
    pub(super) scanned_bytes: usize,
}

impl Swept {
    /// Blocks that could not be released.
    pub(super) fn held(&self) -> Retained {
        Retained {
            blocks: self.candidates.blocks - self.released.blocks,
            bytes: self.candidates.bytes - self.released.bytes,
        }
    }
}

/// Memory to work with: the system's, given back at the end.
pub(super) struct Tools {
    /// All blocks but those that are swept, less those that were met.
    pub(super) others: Scratch<AtomicU64>,
    pub(super) stack: Scratch<Pending>,
    pub(super) window: Scratch<u64>,
    pub(super) holes: Holes,
    pub(super) slices: Scratch<SliceEntry>,
    pub(super) watched: Scratch<[usize; 2]>,
    /// How many words of `others` are in use.
    pub(super) words: usize,
}

impl Tools {
    pub(super) fn new<H: Host>(process: &ProcessHeap<H>) -> Option<Tools> {
        let numbers = process.heap.block_number_limit() + SPARE_NUMBERS;
        let slices = process.heap.block_range().1 / SLICE_BYTES + SPARE_SLICES;
        Some(Tools {
            others: Scratch::new(Marks::words_needed(numbers))?,
            stack: Scratch::new(STACK_ENTRIES)?,
            window: Scratch::new(WINDOW_WORDS)?,
            holes: Holes::new()?,
            slices: Scratch::new(slices)?,
            watched: Scratch::new(WATCHED_MAX)?,
            words: 0,
        })
    }

    /// Notes which blocks are swept.
    pub(super) fn begin<H: Host>(&mut self, process: &ProcessHeap<H>) -> Result<Retained, Failure> {
        let words = Marks::words_needed(process.heap.block_number_limit());
        let others = self.others.slice().get(..words).ok_or(Failure::NoMemory)?;
        others.iter().for_each(|word| word.store(!0, Ordering::Relaxed));
        let candidates = process.heap.note_retained(others);
        index_slices(&process.heap, &Marks::new(others), self.slices.slice_mut());
        self.words = words;
        Ok(candidates)
    }

    /// Where nothing is looked for: the heap with its guarded blocks, the process's heap itself, which knows blocks by their addresses, and this.
    pub(super) fn own_places<H: Host>(&self, process: &'static ProcessHeap<H>) -> [(usize, usize); 8] {
        [
            process.heap.reservation(),
            (core::ptr::from_ref(process).addr(), size_of::<ProcessHeap<H>>()),
            self.others.place(),
            self.stack.place(),
            self.window.place(),
            self.holes.place(),
            self.slices.place(),
            self.watched.place(),
        ]
    }
}

/// The program's memory beside its blocks. The sweep's own stack is none of it.
pub(super) fn roots(own: &[(usize, usize)]) -> Roots<'_> {
    Roots { own, stack_pointer: 0, thread: 0, signal_stack: SignalStack::default() }
}
