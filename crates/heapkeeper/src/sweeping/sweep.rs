//! One sweep, while all threads of the program stand still.

use crate::process::{Host, ProcessHeap};
use crate::scanning::{
    Failure, Holes, Roots, STACK_ENTRIES, Scratch, StoppedWorld, WINDOW_WORDS, mark_from_roots,
};
use core::sync::atomic::{AtomicU64, Ordering};
use hk_heap::{Retained, SLICE_BYTES};
use hk_scan::{Filter, Marker, Marks, Pending, RetainedBlocks, SliceEntry, index_slices};

/// How long a sweep waits for other threads to stop.
const PATIENCE_MS: u32 = 200;
/// Other threads may make room for so many blocks more until they are stopped.
const SPARE_NUMBERS: usize = 1 << 20;
/// The same for slices: what is beyond is looked at by its header.
const SPARE_SLICES: usize = 1 << 10;

/// What a sweep came to.
pub(super) struct Swept {
    candidates: Retained,
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

/// What a sweep works with.
struct Tools {
    /// All blocks but those that are swept, less those that were met.
    others: Scratch<AtomicU64>,
    stack: Scratch<Pending>,
    window: Scratch<u64>,
    holes: Holes,
    slices: Scratch<SliceEntry>,
}

impl Tools {
    fn new(numbers: usize, slices: usize) -> Option<Tools> {
        Some(Tools {
            others: Scratch::new(Marks::words_needed(numbers))?,
            stack: Scratch::new(STACK_ENTRIES)?,
            window: Scratch::new(WINDOW_WORDS)?,
            holes: Holes::new()?,
            slices: Scratch::new(slices)?,
        })
    }

    fn places(&self) -> [(usize, usize); 5] {
        [
            self.others.place(),
            self.stack.place(),
            self.window.place(),
            self.holes.place(),
            self.slices.place(),
        ]
    }
}

impl<H: Host> ProcessHeap<H> {
    pub(super) fn sweep(&'static self) -> Result<Swept, Failure> {
        let present = self.heap.block_number_limit();
        let slices = self.heap.block_range().1 / SLICE_BYTES + SPARE_SLICES;
        let mut tools = Tools::new(present + SPARE_NUMBERS, slices).ok_or(Failure::NoMemory)?;
        let begin_ns = hk_os::monotonic_ns();
        let world = StoppedWorld::stop(self, PATIENCE_MS).map_err(Failure::Stop)?;
        let limit = self.heap.block_number_limit();
        let words = Marks::words_needed(limit);
        let Some(others) = tools.others.slice().get(..words) else { return Err(Failure::NoMemory) };
        others.iter().for_each(|word| word.store(!0, Ordering::Relaxed));
        let candidates = self.heap.note_retained(others);
        let [others_place, stack, window, holes_place, slices_place] = tools.places();
        let this = (core::ptr::from_ref(self).addr(), size_of::<Self>());
        let own = [self.heap.reservation(), this, others_place, stack, window, holes_place, slices_place];
        let (start, bytes) = self.heap.reservation();
        if !tools.holes.look(start, bytes) {
            return Err(Failure::NoList);
        }
        index_slices(&self.heap, &Marks::new(others), tools.slices.slice_mut());
        let blocks = RetainedBlocks::new(&self.heap, limit, tools.holes.list(), tools.slices.slice());
        let mut marker = Marker::new(&blocks, Marks::new(others), tools.stack.slice_mut(), Filter::best());
        let mut scanned_bytes = 0;
        // SAFETY: memory of stopped threads, and of live blocks; what can't be read of them is left out.
        let mut mark = |start: usize, bytes: usize| unsafe {
            scanned_bytes += bytes;
            marker.begin_from(start, bytes);
        };
        // Its own stack is none of the program's.
        let roots = Roots { own: &own, stack_pointer: 0 };
        if !mark_from_roots(&world, &roots, &mut tools.window, &mut mark) {
            return Err(Failure::NoList);
        }
        self.guarding.guards.for_each_live(|block| mark(block.start, block.bytes));
        self.heap.for_each_swept(others, mark);
        // SAFETY: as above.
        unsafe { marker.finish() };
        drop(world);
        let stop_ns = hk_os::monotonic_ns() - begin_ns;
        let released = self.heap.release_retained(others);
        Ok(Swept { candidates, released, stop_ns, scanned_bytes })
    }
}
