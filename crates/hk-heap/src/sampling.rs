//! Every so many-th malloc of a thread is told of, without a cost for the others.
//!
//! malloc counts nothing: it takes blocks from a bin's word until that is used up. So whoever samples counts when a word is given to a
//! bin, all of its blocks at once; and if the next sample is due among them, the bin is *parked*: its word is hidden, so that each malloc
//! of the class comes by and is counted singly, until the sample is drawn. The choice is thus exact to the call, and does not fall on
//! those that happen to meet the end of a word: with 64 blocks a word, a program that allocates a, b, a, b would only ever show the a's.
//!
//! Blocks that are taken otherwise (for an alignment, say) are not counted where they come from a word that was counted already.
//!
//! A sample costs some thousand times as much as a malloc, so a program that does little else would feel even one in five thousand. Therefore
//! time counts too: after a thread's first [`BURST_MALLOCS`] no two samples come closer than as many mallocs as are drawn in the mean would take
//! at [`NS_PER_MALLOC`] each.

use crate::heap::Heap;
use crate::thread_heap::ThreadHeap;
use core::cell::Cell;
use hk_os::Os;

/// A thread's first mallocs, which are sampled by number alone: short programs would hardly be sampled otherwise.
pub const BURST_MALLOCS: u64 = 100_000;
/// Whoever allocates faster than this is sampled by time.
pub const NS_PER_MALLOC: u64 = 1000;
/// No sample is put off by more mallocs than this at once: the program's pace may change.
const PUT_OFF_MAX: u64 = 1 << 24;

/// What a counted malloc is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Nothing: the heap gave it a block, or null if there is no memory.
    Block(*mut u8),
    /// It is due for a sample. The heap is still busy: serve it otherwise and call [`Heap::end_sample`], or call
    /// [`Heap::allocate_unsampled`].
    Sample,
}

/// How a thread heap counts.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Mallocs up to the next sample, that one included; 0: none is drawn yet.
    left: Cell<u32>,
    /// State of the generator that samples are drawn by.
    seed: Cell<u64>,
    /// Mallocs that were drawn so far, in all and since the last sample.
    drawn: Cell<u64>,
    drawn_since: Cell<u64>,
    /// When the last sample was taken.
    taken_ns: Cell<u64>,
}

impl Sampler {
    pub(crate) const fn new() -> Self {
        Sampler {
            left: Cell::new(0),
            seed: Cell::new(0),
            drawn: Cell::new(0),
            drawn_since: Cell::new(0),
            taken_ns: Cell::new(0),
        }
    }

    fn set_next(&self, mallocs: u32) {
        self.left.set(mallocs);
        self.drawn.set(self.drawn.get() + u64::from(mallocs));
        self.drawn_since.set(self.drawn_since.get() + u64::from(mallocs));
    }
}

impl<O: Os> Heap<O> {
    /// malloc of `class` after [`crate::FastAllocate::Refill`], while one malloc in `every` is sampled.
    #[inline]
    pub fn allocate_counted(&self, heap: &ThreadHeap, class: usize, every: u32) -> Counted {
        debug_assert!(heap.is_busy() && !heap.is_sentinel());
        if heap.count_malloc(every) {
            Counted::Sample
        } else {
            Counted::Block(self.allocate_unsampled(heap, class))
        }
    }

    /// A block for a malloc that was counted. `heap` is busy; when it is done it is no longer.
    #[inline]
    pub fn allocate_unsampled(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        let bin = &heap.bins[class];
        let block = self.take_or_refill(heap, class);
        let (available, left) = (bin.available(), heap.sampler.left.get());
        // Where none is available the next malloc of the class comes by anyway.
        if available < left {
            heap.sampler.left.set(left - available);
        } else if available > 0 && left > 0 {
            self.park(heap, class);
        }
        block
    }

    /// A block for a malloc, while each has to be looked at: the bin stays parked. `heap` is busy; when it is done it is no longer.
    pub fn allocate_singly(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        let block = self.take_or_refill(heap, class);
        self.park(heap, class);
        block
    }

    #[inline]
    fn take_or_refill(&self, heap: &ThreadHeap, class: usize) -> *mut u8 {
        let bin = &heap.bins[class];
        if heap.cursors[class].unpark(bin)
            && let Some(block) = bin.take()
        {
            heap.set_busy(false);
            return block;
        }
        heap.take_next(class).unwrap_or_else(|| self.allocate_refilled(heap, class))
    }

    /// Hides the bin's word. Busy meanwhile: a signal handler must not meet the bin halfway.
    #[cold]
    fn park(&self, heap: &ThreadHeap, class: usize) {
        heap.set_busy(true);
        let (bin, cursor) = (&heap.bins[class], &heap.cursors[class]);
        // A handler may have parked it, or used it up.
        if !cursor.is_parked() {
            cursor.park(bin);
        }
        heap.set_busy(false);
    }

    /// Parks the bins that have words, so that each malloc is looked at from now on. The heap is not busy.
    pub fn park_bins(&self, heap: &ThreadHeap) {
        for class in 0..heap.bins.len() {
            if heap.bins[class].available() > 0 {
                self.park(heap, class);
            }
        }
    }

    /// The sample was served otherwise.
    pub fn end_sample(&self, heap: &ThreadHeap) {
        debug_assert!(heap.is_busy());
        heap.set_busy(false);
    }
}

impl ThreadHeap {
    /// Counts a malloc; true if it is due for a sample: then [`ThreadHeap::take_sample`] is to be asked, but where all are samples. A sentinel
    /// counts nothing.
    #[inline]
    pub fn count_malloc(&self, every: u32) -> bool {
        let left = self.sampler.left.get();
        if left > 1 && every > 1 {
            self.sampler.left.set(left - 1);
            return false;
        }
        self.is_due(every)
    }

    #[cold]
    fn is_due(&self, every: u32) -> bool {
        if every <= 1 || self.is_sentinel() {
            return every == 1;
        }
        // Before the first sample one is drawn too, lest all threads begin with one.
        if self.sampler.left.get() == 0 {
            self.sampler.set_next(self.draw(every));
        }
        let left = self.sampler.left.get();
        self.sampler.left.set(left - 1);
        left == 1
    }

    /// Whether the malloc that is due is to be the sample, at this time of a clock that does not go back; draws the next.
    pub fn take_sample(&self, every: u32, now_ns: u64) -> bool {
        let sampler = &self.sampler;
        let interval = u64::from(every) * NS_PER_MALLOC;
        let since = now_ns.wrapping_sub(sampler.taken_ns.get());
        if sampler.drawn.get() > BURST_MALLOCS && since < interval {
            // At the pace since the last sample.
            let missing = sampler.drawn_since.get().saturating_mul(interval - since) / since.max(1);
            sampler.set_next(missing.clamp(u64::from(every), PUT_OFF_MAX.max(u64::from(every))) as u32);
            return false;
        }
        sampler.taken_ns.set(now_ns);
        sampler.drawn_since.set(0);
        sampler.set_next(self.draw(every));
        true
    }

    /// One up to twice `every`, less one: `every` in the mean. By xorshift (Marsaglia, "Xorshift RNGs", 2003), seeded by the heap's number.
    fn draw(&self, every: u32) -> u32 {
        let mut seed = self.sampler.seed.get();
        if seed == 0 {
            seed = (u64::from(self.index()) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.sampler.seed.set(seed);
        let span = u64::from(every) * 2 - 1;
        // The high bits are the better ones.
        (((seed >> 32) * span) >> 32) as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of so many mallocs of `ns` each.
    fn samples(heap: &ThreadHeap, mallocs: u64, every: u32, ns: u64) -> u64 {
        let mut now_ns = 1 << 40;
        let mut taken = 0;
        for _ in 0..mallocs {
            now_ns += ns;
            if heap.count_malloc(every) && heap.take_sample(every, now_ns) {
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn first_by_number_and_then_by_time() {
        for every in [10, 500, 5000] {
            let heap = ThreadHeap::with_index(3);
            let taken = samples(&heap, BURST_MALLOCS, every, 10);
            let expected = BURST_MALLOCS / u64::from(every);
            assert!((expected / 2..=expected * 3 / 2).contains(&taken), "1/{every}: {taken} of {expected}");
            // At ten nanoseconds a malloc, a hundredth of the pace that is allowed.
            let mallocs = 5_000_000;
            let taken = samples(&heap, mallocs, every, 10);
            let most = mallocs * 10 / (u64::from(every) * NS_PER_MALLOC);
            assert!((most / 4..=most + 2).contains(&taken), "1/{every}: {taken}, at most {most}");
            // Slowly enough it is by number again, once what was put off is over.
            samples(&heap, mallocs, every, 2 * NS_PER_MALLOC);
            let taken = samples(&heap, mallocs, every, 2 * NS_PER_MALLOC);
            let expected = mallocs / u64::from(every);
            assert!((expected / 2..=expected * 3 / 2).contains(&taken), "1/{every}: {taken} of {expected}");
        }
    }

    #[test]
    fn all_are_samples_or_none() {
        let heap = ThreadHeap::with_index(0);
        assert!((0..100).all(|_| heap.count_malloc(1)));
        assert!(!(0..100).any(|_| heap.count_malloc(0)));
    }
}
