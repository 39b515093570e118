//! Every so many-th malloc of a thread is told of, without a cost for the others.
//!
//! malloc counts nothing: it takes blocks from a bin's word until that is used up. So whoever samples counts when a word is given to a
//! bin, all of its blocks at once; and if the next sample is due among them, the bin is *parked*: its word is hidden, so that each malloc
//! of the class comes by and is counted singly, until the sample is drawn. The choice is thus exact to the call, and does not fall on
//! those that happen to meet the end of a word: with 64 blocks a word, a program that allocates a, b, a, b would only ever show the a's.
//!
//! Blocks that are taken otherwise (for an alignment, say) are not counted where they come from a word that was counted already.

use crate::heap::Heap;
use crate::thread_heap::ThreadHeap;
use hk_os::Os;

/// What a counted malloc is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Nothing: the heap gave it a block, or null if there is no memory.
    Block(*mut u8),
    /// It is the sample. The heap is still busy: serve it otherwise and call [`Heap::end_sample`], or call [`Heap::allocate_unsampled`].
    Sample,
}

impl<O: Os> Heap<O> {
    /// malloc of `class` after [`crate::FastAllocate::Refill`], while one malloc in `every` is sampled.
    pub fn allocate_counted(&self, heap: &ThreadHeap, class: usize, every: u32) -> Counted {
        debug_assert!(heap.is_busy() && !heap.is_sentinel());
        if heap.count_malloc(every) {
            Counted::Sample
        } else {
            Counted::Block(self.allocate_unsampled(heap, class))
        }
    }

    /// A block for a malloc that was counted. `heap` is busy; when it is done it is no longer.
    pub fn allocate_unsampled(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        let (bin, cursor) = (&heap.bins[class], &heap.cursors[class]);
        cursor.unpark(bin);
        let block = match bin.take() {
            Some(block) => block,
            None => self.allocate_refilled(heap, class),
        };
        heap.set_busy(true);
        let (available, left) = (bin.available(), heap.until_sample.get());
        if available == 0 || left == 0 {
            // The next malloc of the class comes by anyway.
        } else if available < left {
            heap.until_sample.set(left - available);
        } else {
            cursor.park(bin);
        }
        heap.set_busy(false);
        block
    }

    /// A block for a malloc, while each has to be looked at: the bin stays parked. `heap` is busy; when it is done it is no longer.
    pub fn allocate_singly(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        let (bin, cursor) = (&heap.bins[class], &heap.cursors[class]);
        cursor.unpark(bin);
        let block = match bin.take() {
            Some(block) => block,
            None => self.allocate_refilled(heap, class),
        };
        heap.set_busy(true);
        cursor.park(bin);
        heap.set_busy(false);
        block
    }

    /// The sample was served otherwise.
    pub fn end_sample(&self, heap: &ThreadHeap) {
        debug_assert!(heap.is_busy());
        heap.set_busy(false);
    }
}

impl ThreadHeap {
    /// Counts a malloc; true if it is the sample. A sentinel counts nothing.
    pub fn count_malloc(&self, every: u32) -> bool {
        if every <= 1 {
            return every == 1;
        }
        if self.is_sentinel() {
            return false;
        }
        let left = match self.until_sample.get() {
            // None was drawn yet.
            0 => self.draw(every),
            left => left,
        };
        // In the midst of a period the rate may have been raised.
        let left = left.min(every.saturating_mul(2));
        if left > 1 {
            self.until_sample.set(left - 1);
            return false;
        }
        self.until_sample.set(self.draw(every));
        true
    }

    /// One up to twice `every`, less one: `every` in the mean. By xorshift (Marsaglia, "Xorshift RNGs", 2003), seeded by the heap's number.
    fn draw(&self, every: u32) -> u32 {
        let mut seed = self.sample_seed.get();
        if seed == 0 {
            seed = (u64::from(self.index()) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.sample_seed.set(seed);
        let span = u64::from(every) * 2 - 1;
        // The high bits are the better ones.
        (((seed >> 32) * span) >> 32) as u32 + 1
    }
}
