//! The heap as a value: its parts, and its start.

use crate::fast::FastFree;
use crate::figures::LiveFigures;
use crate::lock::Lock;
use crate::mailbox::{Directory, HeapIndex, Mailbox, Pending, SpanIndex};
use crate::misuse::Misuse;
use crate::population;
use crate::quarantine::Quarantine;
use crate::signal_safe;
use crate::size_class::{CLASS_BYTES_MAX, SLICE_BYTES, class_of};
use crate::slices::SliceMap;
use crate::span::{FLAG_KEEP, FLAG_QUARANTINE, SpanHeader};
use crate::tables::{RESERVE_BYTES_MAX, Tables};
use crate::thread_heap::ThreadHeap;
use crate::words::WordPool;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hk_os::Os;

/// Largest request that is granted: PTRDIFF_MAX, as glibc does it.
pub const REQUEST_BYTES_MAX: usize = isize::MAX as usize;

/// What a heap is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When freed blocks are reused.
    pub reuse: Reuse,
    /// How long freed memory is kept before it goes back to the system; 0: at once.
    pub purge_delay_ms: u32,
    /// For what the system is asked for huge pages.
    pub huge_pages: HugePages,
    /// Address space to ask for, at most, in bytes.
    pub reserve_bytes_max: usize,
    /// Whether a part of it is for guarded blocks.
    pub guards: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            reuse: Reuse::Freed,
            purge_delay_ms: 250,
            huge_pages: HugePages::Small,
            reserve_bytes_max: RESERVE_BYTES_MAX,
            guards: false,
        }
    }
}

/// When freed blocks are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reuse {
    /// When they are free.
    Freed = 0,
    /// Never.
    Never = 1,
    /// When a sweep has found no pointer to them: see [`crate::quarantine`].
    Swept = 2,
}

/// For what the system is asked for huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HugePages {
    /// Nothing.
    None = 0,
    /// Spans of small blocks, in a large heap: see [`crate::slices::SliceMap::open_huge`].
    Small = 1,
    /// All slices.
    All = 2,
}

/// No address space could be had for a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAddressSpace;

/// Told of a double free that was seen only when the block's owner looked: address and size of the block.
pub type LateFinding = fn(usize, usize);

/// A heap. It is a value: a process may have many, the shims have one each in a static.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Heap<O> {
    // Read by every free, written as the heap grows.
    base: AtomicPtr<u8>,
    /// Bytes from `base` whose headers are accessible.
    limit: AtomicUsize,
    headers: AtomicPtr<SpanHeader>,

    pub(crate) os: O,
    ready: AtomicBool,
    /// Whether signal handlers may interrupt malloc and call it.
    signals: AtomicBool,
    /// Not zero while the process has one thread.
    single_threaded: AtomicPtr<AtomicU8>,
    tables: UnsafeCell<Option<Tables>>,
    pub(crate) lock: Lock,
    /// Under the lock.
    pub(crate) slices: SliceMap,
    /// Under the lock.
    pub(crate) words: WordPool,
    /// First orphan + 1. Under the lock.
    pub(crate) orphans: Cell<u32>,
    /// Heaps from here on were not looked at since the last fork. Under the lock.
    pub(crate) stale_cursor: Cell<u32>,
    /// Large spans that wait to be given back: the first + 1.
    pub(crate) postponed: AtomicU32,
    /// Whether the process had one thread when it forked.
    pub(crate) forks_alone: AtomicBool,
    pub(crate) heap_count: AtomicU32,
    /// The process that this heap is of: not that of a vfork child, which only borrows it.
    pub(crate) process: AtomicU32,
    pub(crate) fork_generation: AtomicU32,
    /// A [`Reuse`].
    reuse: AtomicU8,
    pub(crate) quarantine: Quarantine,
    pub(crate) purge_delay_ms: AtomicU32,
    /// A [`HugePages`].
    huge_pages: AtomicU8,
    pub(crate) next_tick_ms: AtomicU64,
    /// When the last tick was counted.
    pub(crate) counted_tick_ms: AtomicU64,
    /// Ticks so far.
    pub(crate) tick_count: AtomicU32,
    /// The tick in which orphans were looked at last, and the heap that is next.
    pub(crate) orphans_tick: AtomicU32,
    pub(crate) orphans_cursor: AtomicU32,
    figures_here: LiveFigures,
    figures: AtomicPtr<LiveFigures>,
    late: AtomicPtr<()>,
    pub(crate) fork_noticed: AtomicPtr<()>,
}

// SAFETY: cells and tables are written before `ready` or under the lock; all else is atomic.
unsafe impl<O: Os> Sync for Heap<O> {}

impl<O: Os> Heap<O> {
    /// A heap that has not started.
    pub const fn new(os: O) -> Self {
        Heap {
            base: AtomicPtr::new(null_mut()),
            limit: AtomicUsize::new(0),
            headers: AtomicPtr::new(null_mut()),
            os,
            ready: AtomicBool::new(false),
            signals: AtomicBool::new(true),
            single_threaded: AtomicPtr::new(null_mut()),
            tables: UnsafeCell::new(None),
            lock: Lock::new(),
            slices: SliceMap::new(),
            words: WordPool::new(),
            orphans: Cell::new(0),
            stale_cursor: Cell::new(0),
            postponed: AtomicU32::new(0),
            forks_alone: AtomicBool::new(false),
            heap_count: AtomicU32::new(0),
            process: AtomicU32::new(0),
            fork_generation: AtomicU32::new(0),
            reuse: AtomicU8::new(Reuse::Freed as u8),
            quarantine: Quarantine::new(),
            purge_delay_ms: AtomicU32::new(250),
            huge_pages: AtomicU8::new(HugePages::Small as u8),
            next_tick_ms: AtomicU64::new(0),
            counted_tick_ms: AtomicU64::new(0),
            tick_count: AtomicU32::new(0),
            orphans_tick: AtomicU32::new(0),
            orphans_cursor: AtomicU32::new(0),
            figures_here: LiveFigures::new(),
            figures: AtomicPtr::new(null_mut()),
            late: AtomicPtr::new(null_mut()),
            fork_noticed: AtomicPtr::new(null_mut()),
        }
    }

    /// Reserves the address space. To be called once; a second call while the first goes on waits for it.
    ///
    /// # Errors
    /// If not even [`crate::tables::RESERVE_BYTES_MIN`] can be had.
    pub fn start(&self, options: &Options) -> Result<(), NoAddressSpace> {
        let _guard = self.lock();
        if self.is_started() {
            return Ok(());
        }
        population::look_at_processor();
        self.process.store(self.os.process_id(), Ordering::Relaxed);
        let tables =
            Tables::reserve(&self.os, options.reserve_bytes_max, options.guards).ok_or(NoAddressSpace)?;
        if let Some(word) = self.os.word_wiped_on_fork() {
            self.lock.watch_forks(word);
        }
        self.reuse.store(options.reuse as u8, Ordering::Relaxed);
        self.purge_delay_ms.store(options.purge_delay_ms, Ordering::Relaxed);
        self.huge_pages.store(options.huge_pages as u8, Ordering::Relaxed);
        tables.prefer_huge(&self.os, options.huge_pages == HugePages::All);
        self.headers.store(tables.header_table().cast_mut(), Ordering::Relaxed);
        self.base.store(tables.base().as_ptr(), Ordering::Relaxed);
        // SAFETY: not ready, so nobody reads it; the lock keeps others from writing.
        unsafe { *self.tables.get() = Some(tables) };
        // Release: who sees `ready` sees the tables.
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether [`Heap::start`] succeeded.
    #[inline]
    pub fn is_started(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Bytes of address space reserved.
    pub fn reserved_bytes(&self) -> usize {
        if self.is_started() { self.tables().reserved_bytes() } else { 0 }
    }

    /// Gives unused address space back until at most `bytes_max` are reserved, if what is in use allows that: for a
    /// process that limits its address space. The heap can't grow beyond what remains. False in a vfork child,
    /// whose limits are its own while the heap is its parent's; nothing is done then.
    pub fn shrink_reservation(&self, bytes_max: usize) -> bool {
        if !self.is_started() || !self.is_own() {
            return false;
        }
        let _guard = self.lock();
        self.tables().shrink(&self.os, bytes_max);
        self.publish_limit();
        true
    }

    /// The part of the reservation that is for guarded blocks: start and bytes. None if the heap was started without.
    pub fn guard_area(&self) -> Option<(NonNull<u8>, usize)> {
        self.is_started().then(|| self.tables().guard_area()).filter(|&(_, bytes)| bytes > 0)
    }

    /// Makes the first `bytes` of that part accessible. False if there is no memory, no so large part any more, or a signal handler
    /// interrupted whoever holds the lock.
    pub fn commit_guards(&self, bytes: usize) -> bool {
        if self.is_reentered() {
            return false;
        }
        let _guard = self.lock();
        self.tables().ensure_guards(&self.os, bytes)
    }

    /// Whether the heap is the calling process's, and not that of a vfork child's parent.
    pub fn is_own(&self) -> bool {
        self.process.load(Ordering::Relaxed) == self.os.process_id()
    }

    /// Whether signal handlers may interrupt malloc and call it.
    #[inline(always)]
    pub(crate) fn expects_signals(&self) -> bool {
        // Relaxed: set before the first handler is installed, by the thread that installs it.
        self.signals.load(Ordering::Relaxed)
    }

    /// Whether signal handlers may interrupt malloc and call it, as far as the heap was told.
    pub fn expects_handlers(&self) -> bool {
        self.expects_signals()
    }

    /// Says whether the process may have signal handlers. If it has none, the lock is taken without blocking signals, and a
    /// visit fences once. True at first, as a host may not know.
    pub fn expect_signals(&self, signals: bool) {
        self.signals.store(signals, Ordering::Relaxed);
    }

    /// Tells the heap of a byte that is not zero while the process has one thread, and is set to zero by that thread before it makes
    /// another: refills then need no fence.
    pub fn watch_threads(&self, single: &'static AtomicU8) {
        self.single_threaded.store(core::ptr::from_ref(single).cast_mut(), Ordering::Release);
    }

    /// Whether no other thread can be freeing.
    #[inline(always)]
    pub(crate) fn is_single_threaded(&self) -> bool {
        // SAFETY: null, or from a 'static reference in `watch_threads`.
        let single = unsafe { self.single_threaded.load(Ordering::Acquire).as_ref() };
        // Relaxed: written by this very thread, if it is the only one.
        single.is_some_and(|single| single.load(Ordering::Relaxed) != 0)
    }

    /// Between the owner's frees and its look at what others freed: see [`crate::word::Word::has_remote`].
    #[inline(always)]
    pub(crate) fn fence_frees(&self) {
        if !self.is_single_threaded() {
            signal_safe::full_fence();
        }
    }

    /// Says after the start when freed blocks are reused. It reaches spans made before, but what is free stays free: to be called while the
    /// process has one thread, and not to take back what was said before.
    pub fn reuse_from_now_on(&self, reuse: Reuse) {
        let before = self.reuse.swap(reuse as u8, Ordering::Relaxed);
        if before != reuse as u8 && self.is_started() {
            self.flag_spans(self.span_flags());
        }
    }

    /// The flags that new spans have.
    #[inline]
    pub(crate) fn span_flags(&self) -> u64 {
        match self.reuse() {
            Reuse::Freed => 0,
            Reuse::Never => FLAG_KEEP,
            Reuse::Swept => FLAG_QUARANTINE,
        }
    }

    /// Sets how long freed memory is kept before it goes back to the system; 0: at once.
    pub fn set_purge_delay_ms(&self, delay_ms: u32) {
        self.purge_delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Sets for what the system is asked for huge pages from now on. What was asked for before stays asked for.
    pub fn set_huge_pages(&self, huge_pages: HugePages) {
        // Relaxed: a choice; nothing is published with it.
        let before = self.huge_pages.swap(huge_pages as u8, Ordering::Relaxed);
        if before != huge_pages as u8 && self.is_started() {
            let _guard = self.lock();
            self.tables().prefer_huge(&self.os, huge_pages == HugePages::All);
        }
    }

    pub(crate) fn opens_huge_pages(&self) -> bool {
        self.huge_pages.load(Ordering::Relaxed) == HugePages::Small as u8
    }

    /// When freed blocks are reused.
    #[inline]
    pub fn reuse(&self) -> Reuse {
        // Relaxed: said while there is one thread.
        match self.reuse.load(Ordering::Relaxed) {
            0 => Reuse::Freed,
            1 => Reuse::Never,
            _ => Reuse::Swept,
        }
    }

    /// Whether the calling thread was interrupted while it held the heap's lock: whatever needs the lock would wait
    /// for ever. Only possible with handlers that the host does not know of, as signals are blocked otherwise.
    pub fn is_reentered(&self) -> bool {
        self.lock.is_mine(&self.os)
    }

    /// The operating system.
    pub fn os(&self) -> &O {
        &self.os
    }

    pub(crate) fn tables(&self) -> &Tables {
        debug_assert!(self.is_started());
        // SAFETY: written before `ready`, and never again.
        let tables = unsafe { &*self.tables.get() };
        tables.as_ref().expect("a started heap has tables")
    }

    /// After the heap grew: frees may look at more headers. Under the lock.
    pub(crate) fn publish_limit(&self) {
        let tables = self.tables();
        let slices = (tables.headers.committed() / size_of::<SpanHeader>()).min(tables.slice_count());
        // Release: who passes the limit may read the headers.
        self.limit.store(slices * SLICE_BYTES, Ordering::Release);
    }

    /// The header of a span that is in use.
    #[inline(always)]
    pub(crate) fn header(&self, slice: usize) -> &SpanHeader {
        debug_assert!(slice < self.slices.top());
        // SAFETY: spans in use lie below the top, where headers are committed.
        let header = unsafe { self.headers.load(Ordering::Relaxed).add(slice) };
        // SAFETY: as above; headers are accessed as atomics only.
        unsafe { &*header }
    }

    /// A pointer to an address in the slices, with the reservation's provenance.
    #[inline(always)]
    pub(crate) fn block_place(&self, address: usize) -> *mut u8 {
        self.base.load(Ordering::Relaxed).with_addr(address)
    }

    /// The offset of an address in the slices, if its header is accessible.
    #[inline(always)]
    pub(crate) fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.wrapping_sub(self.base.load(Ordering::Relaxed).addr());
        (offset < self.limit.load(Ordering::Relaxed)).then_some(offset)
    }

    /// Whether an address lies in the heap's reservation, tables included.
    pub fn owns(&self, address: usize) -> bool {
        self.is_started() && self.tables().contains(address)
    }

    pub(crate) fn is_own_table(&self, address: usize) -> bool {
        self.owns(address) && address < self.base.load(Ordering::Relaxed).addr()
    }

    /// A block of at least `bytes` (at most [`REQUEST_BYTES_MAX`]), or null if there is no memory. `heap` is not
    /// the sentinel.
    pub fn allocate(&self, heap: &ThreadHeap, bytes: usize) -> *mut u8 {
        if bytes > CLASS_BYTES_MAX {
            return self.allocate_large(heap, bytes, 1);
        }
        self.allocate_class(heap, class_of(bytes))
    }

    /// Brings a thread heap's copy of the map up to date. True if it was behind.
    #[cold]
    pub(crate) fn update_map(&self, heap: &ThreadHeap) -> bool {
        // Acquire: below the limit headers may be read.
        let limit = self.limit.load(Ordering::Acquire);
        if heap.is_sentinel() || heap.map.limit.get() == limit {
            return false;
        }
        heap.map.headers.set(self.headers.load(Ordering::Relaxed));
        heap.map.base.set(self.base.load(Ordering::Relaxed).addr());
        heap.map.limit.set(limit);
        true
    }

    /// Where the figures are kept from now on, for instance in memory that outlives the process.
    pub fn set_figures(&self, figures: &'static LiveFigures) {
        figures.copy_from(self.figures());
        self.figures.store(core::ptr::from_ref(figures).cast_mut(), Ordering::Release);
    }

    /// The figures.
    pub fn figures(&self) -> &LiveFigures {
        let figures = self.figures.load(Ordering::Acquire);
        // SAFETY: null, or from a 'static reference in `set_figures`.
        unsafe { figures.as_ref() }.unwrap_or(&self.figures_here)
    }

    /// Who is told of double frees that are seen late.
    pub fn set_late_finding(&self, told: LateFinding) {
        self.late.store(told as *mut (), Ordering::Release);
    }

    pub(crate) fn report_late(&self, block_start: usize, block_bytes: usize) {
        let told = self.late.load(Ordering::Acquire);
        if told.is_null() {
            return;
        }
        // SAFETY: not null, so it was stored by `set_late_finding` from a function of this very type.
        let told: LateFinding = unsafe { core::mem::transmute(told) };
        told(block_start, block_bytes);
    }

    /// The heap that owns a span.
    pub(crate) fn owner_index(&self, header: &SpanHeader) -> Option<HeapIndex> {
        // SAFETY: headers hold addresses of heaps.
        header.owner().map(|owner| unsafe { ThreadHeap::at(owner) }.index())
    }

    pub(crate) fn generation(&self) -> u32 {
        self.fork_generation.load(Ordering::Relaxed)
    }

    /// Frees a block whatever thread it belongs to.
    ///
    /// # Errors
    /// If it is not a live block of this heap; nothing has changed then.
    pub fn free(&self, heap: &ThreadHeap, block: *mut u8) -> Result<(), Misuse> {
        match self.free_fast(heap, block) {
            FastFree::Done => Ok(()),
            FastFree::Edge => {
                self.free_edge(heap, block);
                Ok(())
            }
            FastFree::Slow => self.free_slow(heap, block),
        }
    }
}

impl<O: Os> Directory for Heap<O> {
    fn pending(&self, span: SpanIndex) -> &Pending {
        &self.tables().header(span as usize).pending.0
    }

    fn owner(&self, span: SpanIndex) -> Option<HeapIndex> {
        self.owner_index(self.tables().header(span as usize))
    }

    fn mailbox(&self, heap: HeapIndex) -> &Mailbox {
        &self.tables().heap(heap as usize).shared.mailbox
    }
}
