//! The Rust host: `GlobalAlloc`, and what a program may ask.

use crate::process::{Call, GivenLayout, Host, ProcessHeap};
use crate::scanning::SnapshotError;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};
use hk_format::{Family, ProcessOrigin, ProcessState};
use hk_heap::{HugePages, ThreadHeap};
use hk_recorder::Innermost;

hk_os::thread_local_word!(mod slot = "heapkeeper_rust_thread_heap", super::SENTINEL);

static SENTINEL: ThreadHeap = ThreadHeap::sentinel();

static PROCESS: ProcessHeap<Heapkeeper> = ProcessHeap::new();

/// What the program's global allocator was made with.
static GUARD_EVERY: AtomicU32 = AtomicU32::new(0);

/// The heap, as a global allocator. All values of this type are the same heap, one per process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heapkeeper {
    /// 0: none.
    guard_every: u32,
}

/// How large the heap is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Live blocks: exact if no other thread allocates or frees meanwhile.
    pub live_blocks: u64,
    /// Bytes of live blocks, as the heap rounded them up: exact likewise.
    pub live_bytes: u64,
    /// Highest bytes of live blocks: an estimate, mostly a little too high.
    pub live_peak_bytes: u64,
    /// Bytes of the spans that blocks are cut from: exact.
    pub span_bytes: u64,
    /// Highest bytes of spans: exact.
    pub span_peak_bytes: u64,
    /// Bytes of the heap's own tables made accessible; untouched pages of them take no memory.
    pub table_bytes: u64,
}

impl Heapkeeper {
    /// The heap.
    pub const fn new() -> Self {
        Heapkeeper { guard_every: 0 }
    }

    /// Has one block in `every` guarded, in the mean: bad accesses to it trap, and are reported with the block's life. 1: all blocks; 0: none.
    /// Where the variable `HEAPKEEPER` says something else, that holds.
    ///
    /// ```
    /// # use heapkeeper::Heapkeeper;
    /// #[global_allocator]
    /// static HEAP: Heapkeeper = Heapkeeper::new().guard(5000);
    /// # fn main() {}
    /// ```
    ///
    /// Takes over SIGSEGV: faults that are not about guarded blocks go to whatever handler was there.
    pub const fn guard(mut self, every: u32) -> Self {
        self.guard_every = every;
        self
    }

    /// The process's heap, which starts at its first allocation, and is told before that what is to be guarded. The comparison is with a
    /// constant, so it costs nothing where nothing is.
    #[inline(always)]
    fn process_heap(&self) -> &'static ProcessHeap<Self> {
        if self.guard_every != 0 && GUARD_EVERY.load(Ordering::Relaxed) != self.guard_every {
            GUARD_EVERY.store(self.guard_every, Ordering::Relaxed);
        }
        &PROCESS
    }

    /// How large the heap is. Walks all spans: some microseconds per megabyte.
    pub fn stats(&self) -> Stats {
        let count = PROCESS.count();
        let figures = PROCESS.heap().figures();
        Stats {
            live_blocks: count.live_blocks,
            live_bytes: count.live_bytes,
            live_peak_bytes: figures.live_peak_bytes.load(Ordering::Relaxed).max(count.live_bytes),
            span_bytes: count.span_bytes,
            span_peak_bytes: figures.span_peak_bytes.load(Ordering::Relaxed),
            table_bytes: count.table_bytes,
        }
    }

    /// Sets how long freed memory is kept before it goes back to the system, in milliseconds; 0: at once. At first what the variable
    /// `HEAPKEEPER` says, else 250.
    pub fn set_purge_delay_ms(&self, delay_ms: u32) {
        if PROCESS.start().is_some() {
            PROCESS.heap().set_purge_delay_ms(delay_ms);
        }
    }

    /// Sets for what the system is asked for huge pages from now on. At first what the variable `HEAPKEEPER` says, else
    /// [`HugePages::Small`]. What was asked for before stays asked for.
    pub fn set_huge_pages(&self, huge_pages: HugePages) {
        if PROCESS.start().is_some() {
            PROCESS.heap().set_huge_pages(huge_pages);
        }
    }

    /// Writes all live blocks and every pointer to one to a file ([`hk_format::SnapshotHeader`]), for its owner alone, which is put in its place once it is whole.
    /// Gives for how long the program stood still, in nanoseconds: some 20 ms a GiB. The calling thread waits until all is written; the others go on.
    ///
    /// # Errors
    /// The file is as it was.
    pub fn snapshot(&self, path: &CStr) -> Result<u64, SnapshotError> {
        PROCESS.snapshot_to_file(path)
    }

    /// Gives all free memory back to the system at once, and the pages of free blocks in spans of the calling thread. True if there was
    /// any.
    pub fn trim(&self) -> bool {
        PROCESS.trim()
    }
}

impl Host for Heapkeeper {
    const INNERMOST: Innermost = Innermost::AtCaller;
    // A recording is the command's, which preloads the library: that made the process's entry.
    const ORIGIN: ProcessOrigin = ProcessOrigin::SecondHeap;

    const SEES_HANDLERS: bool = false;

    fn process() -> &'static ProcessHeap<Self> {
        &PROCESS
    }

    fn guard_every() -> u32 {
        GUARD_EVERY.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn sentinel() -> &'static ThreadHeap {
        &SENTINEL
    }

    #[inline(always)]
    fn slot() -> usize {
        slot::get()
    }

    #[inline(always)]
    fn set_slot(value: usize) {
        slot::set(value);
    }

    fn fallback_allocate(bytes: usize, align: usize) -> *mut u8 {
        let mut block = core::ptr::null_mut();
        // SAFETY: `block` is a valid place; the alignment is a power of two of at least a pointer's size.
        unsafe { libc::posix_memalign(&raw mut block, align.max(size_of::<usize>()), bytes) };
        block.cast()
    }

    fn watch_exit() {
        extern "C" fn at_exit() {
            PROCESS.look_for_leaks_at_exit();
            PROCESS.finish(ProcessState::Counted);
        }
        // SAFETY: a handler of the right type; if it can't be registered the figures stay estimates.
        unsafe { libc::atexit(at_exit) };
    }

    fn no_memory() {}

    fn free_foreign(block: *mut u8) -> bool {
        if PROCESS.heap().is_started() {
            return false;
        }
        // SAFETY: without a heap all blocks are from `fallback_allocate`.
        unsafe { libc::free(block.cast()) };
        true
    }

    fn reallocate_foreign(block: *mut u8, bytes: usize) -> Option<*mut u8> {
        if PROCESS.heap().is_started() {
            return None;
        }
        // SAFETY: as in `free_foreign`.
        Some(unsafe { libc::realloc(block.cast(), bytes) }.cast())
    }

    fn foreign_usable_bytes(_block: *mut u8) -> Option<usize> {
        None
    }
}

// SAFETY: blocks are at least as large and as aligned as asked for, and live until they are given back.
unsafe impl GlobalAlloc for Heapkeeper {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= 16 {
            self.process_heap().allocate(layout.size(), Family::Rust)
        } else {
            self.process_heap().allocate_aligned(layout.size(), layout.align(), Family::Rust)
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        PROCESS.free_with(block, Call::Dealloc, GivenLayout::new(Some(layout.size()), layout.align()));
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= 16 {
            return self.process_heap().allocate_zeroed(layout.size(), Family::Rust);
        }
        let block = self.process_heap().allocate_aligned(layout.size(), layout.align(), Family::Rust);
        if !block.is_null() {
            // SAFETY: a new block of that size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if layout.align() <= 16 {
            let given = GivenLayout::new(Some(layout.size()), layout.align());
            return self.process_heap().reallocate_with(block, bytes, Family::Rust, given);
        }
        let moved = self.process_heap().allocate_aligned(bytes, layout.align(), Family::Rust);
        if !moved.is_null() {
            // SAFETY: the old block is live by the caller's word, the new one is another.
            unsafe { core::ptr::copy_nonoverlapping(block, moved, layout.size().min(bytes)) };
            let given = GivenLayout::new(Some(layout.size()), layout.align());
            PROCESS.free_with(block, Call::Dealloc, given);
        }
        moved
    }
}
