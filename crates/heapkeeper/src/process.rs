//! A process's heap: what both shims share.

use crate::guarding::Guarding;
use crate::scanning::{Live, Scanning};
use crate::stop::Stop;
use crate::sweeping::Sweeping;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hk_format::{Family, Guard, Mode, NoteKind, OnFinding, ProcessOrigin, ProcessState};
use hk_heap::{
    Count, FastAllocate, FastFree, Heap, HugePages, InQuarantine, LiveFigures, Options, REQUEST_BYTES_MAX,
    Reuse, fits_in_place,
};
use hk_os::{Linux, Os};
use hk_recorder::{Innermost, Recording, Registers, SharedFigures};

pub use crate::guarding::GivenLayout;
pub use hk_format::Call;
pub use hk_heap::ThreadHeap;

/// What a shim provides.
pub trait Host: Sized + 'static {
    /// Which frame a finding's stack begins with.
    const INNERMOST: Innermost;
    /// What the process's entry of a recording is, if this heap makes one.
    const ORIGIN: ProcessOrigin;

    /// Whether it stands before libc's functions that install signal handlers.
    const SEES_HANDLERS: bool;

    /// The process's heap.
    fn process() -> &'static ProcessHeap<Self>;

    /// One block in so many is guarded unless the settings say something else; 0: none.
    fn guard_every() -> u32 {
        0
    }

    /// The heap of a thread that has none.
    fn sentinel() -> &'static ThreadHeap;

    /// The calling thread's slot: the address of its heap, at first that of the sentinel.
    fn slot() -> usize;

    /// Sets it.
    fn set_slot(value: usize);

    /// Memory from the system's malloc, for when no heap could be made; null if it has none either.
    fn fallback_allocate(bytes: usize, align: usize) -> *mut u8;

    /// Sees to it that [`ProcessHeap::finish`] is called at exit, if the host has no other way.
    fn watch_exit();

    /// Tells the caller that there is no memory, beyond the null that it gets: C has errno for that.
    fn no_memory();

    /// Gives a block that is not of this heap to its owner, if it has one.
    fn free_foreign(block: *mut u8) -> bool;

    /// The same for realloc: what the owner returned.
    fn reallocate_foreign(block: *mut u8, bytes: usize) -> Option<*mut u8>;

    /// The same for malloc_usable_size.
    fn foreign_usable_bytes(block: *mut u8) -> Option<usize>;
}

/// See the module head. To be put into a static of the host.
pub struct ProcessHeap<H> {
    pub(crate) heap: Heap<Linux>,
    /// The sentinel of a thread whose end was seen: what it still allocates comes from a spare heap each time, as
    /// nobody would tell when that is over.
    pub(crate) ended: ThreadHeap,
    pub(crate) recording: Recording,
    pub(crate) abort_on_finding: AtomicBool,
    pub(crate) stop: Stop,
    pub(crate) guarding: Guarding,
    pub(crate) scanning: Scanning,
    pub(crate) sweeping: Sweeping,
    pub(crate) live: Live,
    registered: AtomicBool,
    configured: AtomicBool,
    failed: AtomicBool,
    /// pthread key + 1.
    pub(crate) thread_key: AtomicU32,
    /// Process that the recording's entry is for.
    process_id: AtomicU32,
    host: core::marker::PhantomData<fn() -> H>,
}

impl<H: Host> Default for ProcessHeap<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Host> ProcessHeap<H> {
    /// A heap that starts on first use.
    pub const fn new() -> Self {
        ProcessHeap {
            heap: Heap::new(Linux),
            ended: ThreadHeap::sentinel(),
            recording: Recording::new(),
            abort_on_finding: AtomicBool::new(false),
            stop: Stop::new(),
            guarding: Guarding::new(),
            scanning: Scanning::new(),
            sweeping: Sweeping::new(),
            live: Live::new(),
            registered: AtomicBool::new(false),
            configured: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            thread_key: AtomicU32::new(0),
            process_id: AtomicU32::new(0),
            host: core::marker::PhantomData,
        }
    }

    /// The heap itself.
    pub fn heap(&self) -> &Heap<Linux> {
        &self.heap
    }

    /// The recording.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The calling thread's heap, or the sentinel if it has none.
    #[inline(always)]
    pub fn current(&self) -> &ThreadHeap {
        // SAFETY: the address of a thread heap, which is never unmapped, or of the sentinel.
        unsafe { &*core::ptr::with_exposed_provenance(H::slot()) }
    }

    pub(crate) fn set_current(&self, heap: &ThreadHeap) {
        H::set_slot(core::ptr::from_ref(heap).expose_provenance());
    }

    /// malloc: at least `bytes`, aligned to 16; null if there is no memory.
    #[inline(always)]
    pub fn allocate(&self, bytes: usize, family: Family) -> *mut u8 {
        match self.heap.allocate_fast(self.current(), bytes) {
            FastAllocate::Block(block) => block,
            FastAllocate::Refill(class) => self.allocate_next(bytes, class, family),
            FastAllocate::Slow => self.allocate_slow(bytes, family),
        }
    }

    #[inline(never)]
    fn allocate_next(&self, bytes: usize, class: usize, family: Family) -> *mut u8 {
        if self.guarding.is_on() {
            return self.allocate_counted(bytes, class, family);
        }
        match self.heap.allocate_next(self.current(), class) {
            Some(block) => block,
            None => self.allocate_refilled(bytes, class),
        }
    }

    #[inline(never)]
    fn allocate_refilled(&self, bytes: usize, class: usize) -> *mut u8 {
        let block = self.heap.allocate_refilled(self.current(), class);
        self.poll();
        self.checked(block, bytes)
    }

    /// Where a word of blocks was used up, and by larger allocations: whether the command asks for something. No lock is held here, and what was
    /// allocated is in the caller's hands.
    #[inline(always)]
    pub(crate) fn poll(&self) {
        if self.live.is_asked() {
            H::process().attend();
        }
    }

    #[inline(never)]
    fn allocate_slow(&self, bytes: usize, family: Family) -> *mut u8 {
        let current = self.current();
        if let Some(block) = self.guarded_if_on(bytes, 1, family, false) {
            return block;
        }
        // Larger than what the fast path looks up, mostly.
        let block = if bytes <= REQUEST_BYTES_MAX && !current.is_busy() {
            self.heap.allocate(current, bytes)
        } else {
            self.allocate_oddly(bytes)
        };
        self.poll();
        self.checked(block, bytes)
    }

    /// For the slow paths. The first malloc of a process starts the heap, and is to be guarded too.
    #[inline]
    fn guarded_if_on(&self, bytes: usize, align: usize, family: Family, zeroed: bool) -> Option<*mut u8> {
        if !self.guarding.is_on() && (self.heap.is_started() || self.start().is_none()) {
            return None;
        }
        let block = self.allocate_guarded(bytes, align, family, zeroed)?;
        self.poll();
        Some(block)
    }

    /// malloc in a thread without heap, or in a signal handler that interrupted its heap.
    #[cold]
    fn allocate_oddly(&self, bytes: usize) -> *mut u8 {
        if bytes > REQUEST_BYTES_MAX {
            return null_mut();
        }
        let allocate = |heap: &ThreadHeap| {
            let block = self.heap.allocate(heap, bytes);
            if self.guarding.sites.are_watched() {
                // The thread's first malloc: it has brought a word that nobody has looked at.
                self.heap.park_bins(heap);
            }
            block
        };
        self.with_heap(allocate).unwrap_or_else(|| self.allocate_elsewhere(bytes, 1))
    }

    /// calloc's work: all zero.
    pub fn allocate_zeroed(&self, bytes: usize, family: Family) -> *mut u8 {
        if bytes > REQUEST_BYTES_MAX {
            return self.checked(null_mut(), bytes);
        }
        let block = match self.heap.allocate_fast(self.current(), bytes) {
            FastAllocate::Block(block) => block,
            FastAllocate::Refill(class) => self.allocate_next(bytes, class, family),
            FastAllocate::Slow => return self.allocate_zeroed_slow(bytes, family),
        };
        if !block.is_null() {
            // SAFETY: a new block of at least `bytes`.
            unsafe { block.write_bytes(0, bytes) };
        }
        block
    }

    fn allocate_zeroed_slow(&self, bytes: usize, family: Family) -> *mut u8 {
        if let Some(block) = self.guarded_if_on(bytes, 1, family, true) {
            return block;
        }
        match self.with_heap(|heap| self.heap.allocate_zeroed(heap, bytes)) {
            Some(block) => {
                self.poll();
                self.checked(block, bytes)
            }
            None => {
                let block = self.allocate_elsewhere(bytes, 1);
                if !block.is_null() {
                    // SAFETY: a new block of at least `bytes`.
                    unsafe { block.write_bytes(0, bytes) };
                }
                self.checked(block, bytes)
            }
        }
    }

    /// memalign's work: at a multiple of `align`, a power of two.
    pub fn allocate_aligned(&self, bytes: usize, align: usize, family: Family) -> *mut u8 {
        if align <= 16 {
            return self.allocate(bytes, family);
        }
        if let Some(block) = self.guarded_if_on(bytes, align, family, false) {
            return block;
        }
        let block = self
            .with_heap(|heap| self.heap.allocate_aligned(heap, bytes, align))
            .unwrap_or_else(|| self.allocate_elsewhere(bytes, align));
        self.poll();
        self.checked(block, bytes)
    }

    pub(crate) fn checked(&self, block: *mut u8, bytes: usize) -> *mut u8 {
        if block.is_null() {
            self.no_memory(bytes);
        }
        block
    }

    #[cold]
    fn no_memory(&self, bytes: usize) {
        if bytes <= self.heap.reserved_bytes().max(1 << 30) {
            self.recording.note(NoteKind::OutOfMemory, bytes as u64, b"");
        }
        self.forget_refused(bytes);
        H::no_memory();
    }

    #[cold]
    fn allocate_elsewhere(&self, bytes: usize, align: usize) -> *mut u8 {
        if self.failed.load(Ordering::Relaxed) { H::fallback_allocate(bytes, align) } else { null_mut() }
    }

    /// free. Null is nothing. A bad pointer is reported, and ignored.
    #[inline(always)]
    pub fn free(&self, block: *mut u8, call: Call) {
        self.free_with(block, call, GivenLayout::NONE);
    }

    /// free, where the caller tells what it knows of the block.
    #[inline(always)]
    pub fn free_with(&self, block: *mut u8, call: Call, layout: GivenLayout) {
        match self.heap.free_fast(self.current(), block) {
            FastFree::Done => {}
            FastFree::Edge => self.free_edge(block),
            FastFree::Slow => self.free_slow(block, call, layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn free_edge(&self, block: *mut u8) {
        self.heap.free_edge(self.current(), block);
    }

    #[cold]
    #[inline(never)]
    fn free_slow(&self, block: *mut u8, call: Call, layout: GivenLayout) {
        let current = self.current();
        if self.sweeping.is_on() {
            match self.heap.free_to_quarantine(current, block) {
                InQuarantine::Done => return,
                InQuarantine::Full => return H::process().ask_for_sweep(),
                InQuarantine::Unusual => {}
            }
        }
        if block.is_null() {
            return;
        }
        if self.is_guarded(block) {
            return self.free_guarded(block, call, layout);
        }
        if let Err(misuse) = self.heap.free_slow(current, block) {
            let _errno = hk_os::Errno::keep();
            self.free_refused(block, call, misuse, &Registers::capture());
        } else if self.sweeping.is_on() && self.heap.is_quarantine_full() {
            H::process().ask_for_sweep();
        }
    }

    /// realloc of a non-null block to a size other than zero; null if there is no memory.
    pub fn reallocate(&self, block: *mut u8, bytes: usize, family: Family) -> *mut u8 {
        self.reallocate_with(block, bytes, family, GivenLayout::NONE)
    }

    /// realloc, where the caller tells what it knows of the block.
    pub fn reallocate_with(
        &self,
        block: *mut u8,
        bytes: usize,
        family: Family,
        layout: GivenLayout,
    ) -> *mut u8 {
        if bytes > REQUEST_BYTES_MAX {
            return self.checked(null_mut(), bytes);
        }
        if let Some(present) = self.heap.own_live_bytes(self.current(), block)
            && fits_in_place(present, bytes)
        {
            return block;
        }
        self.reallocate_elsewhere(block, bytes, family, layout)
    }

    #[inline(never)]
    fn reallocate_elsewhere(
        &self,
        block: *mut u8,
        bytes: usize,
        family: Family,
        layout: GivenLayout,
    ) -> *mut u8 {
        if self.is_guarded(block) {
            return self.reallocate_guarded(block, bytes, family, layout);
        }
        if self.guarding.is_on()
            && let Some(moved) = self.reallocate_to_guarded(block, bytes, family)
        {
            return moved;
        }
        let moved = self.with_heap(|heap| {
            // SAFETY: a program that calls realloc gives the block up.
            unsafe { self.heap.reallocate(heap, block, bytes) }
        });
        self.poll();
        match moved {
            Some(Ok(moved)) => self.checked(moved, bytes),
            Some(Err(misuse)) => self.reallocate_refused(block, bytes, family, misuse, &Registers::capture()),
            None => self.checked(H::reallocate_foreign(block, bytes).unwrap_or(null_mut()), bytes),
        }
    }

    /// malloc_usable_size; 0 for null and for what is no live block. Some programs (redis) ask at each malloc and free.
    pub fn usable_bytes(&self, block: *mut u8) -> usize {
        match self.heap.own_live_bytes(self.current(), block) {
            Some(bytes) => bytes,
            None => self.usable_bytes_elsewhere(block),
        }
    }

    #[inline(never)]
    fn usable_bytes_elsewhere(&self, block: *mut u8) -> usize {
        if block.is_null() {
            return 0;
        }
        if self.is_guarded(block) {
            return self.guarded_usable_bytes(block);
        }
        if self.sweeping.is_on()
            && let Some(bytes) = self.heap.live_bytes_in_quarantine(self.current(), block)
        {
            return bytes;
        }
        match self.heap.usable_bytes(block) {
            Ok(bytes) => bytes,
            Err(misuse) => self.usable_bytes_refused(block, misuse, &Registers::capture()),
        }
    }

    /// Gives all free memory back to the system at once, and the pages of free blocks in spans of the calling thread. True if there was
    /// any.
    pub fn trim(&self) -> bool {
        let current = self.current();
        let pages = !current.is_busy() && self.heap.trim_spans(current);
        self.heap.trim() || pages
    }

    /// Calls `work` with the thread's heap. None if there is none to be had: no memory, or a signal handler
    /// interrupted this thread while it held the heap's lock.
    fn with_heap<R>(&self, work: impl FnOnce(&ThreadHeap) -> R) -> Option<R> {
        let current = self.current();
        // A sentinel is always busy.
        if !current.is_busy() {
            return Some(work(current));
        }
        if self.heap.is_reentered() {
            return None;
        }
        if core::ptr::eq(current, H::sentinel()) {
            return self.attach_thread().map(work);
        }
        // The thread has ended, or a signal handler interrupted a slow path and its heap's lists are in disorder.
        let spare = self.heap.attach()?;
        let result = work(spare);
        self.heap.detach(spare);
        Some(result)
    }

    fn attach_thread(&self) -> Option<&ThreadHeap> {
        self.start()?;
        let heap = self.heap.attach()?;
        let mask = Linux.block_signals();
        let current = self.current();
        let is_first = current.is_sentinel();
        if is_first {
            self.set_current(heap);
        }
        Linux.restore_signals(mask);
        if !is_first {
            // A signal handler was here first.
            self.heap.detach(heap);
            return Some(current);
        }
        self.watch_thread_exit();
        self.recording.set_heap_count(self.heap.heap_count());
        Some(heap)
    }

    /// Starts the heap, if nobody has. None if that is impossible: then the system's malloc serves.
    pub fn start(&self) -> Option<()> {
        if !self.heap.is_started() {
            let settings = self.read_settings();
            let options = Options {
                reuse: reuse_of(&settings),
                purge_delay_ms: settings.purge_delay_ms,
                huge_pages: huge_pages_of(&settings),
                guards: settings.guard != Guard::Off,
                ..Options::default()
            };
            if self.heap.start(&options).is_err() {
                self.failed.store(true, Ordering::Relaxed);
                return None;
            }
            self.abort_on_finding.store(settings.on_finding == OnFinding::Abort, Ordering::Relaxed);
        }
        if !self.registered.swap(true, Ordering::AcqRel) {
            self.heap.set_late_finding(Self::late_finding);
            self.heap.set_fork_noticed(Self::become_fork_child);
            self.create_thread_key();
            self.watch_forks();
            H::watch_exit();
            self.apply_guard(&self.read_settings());
            self.configure();
        }
        Some(())
    }

    /// Opens the recording and takes over settings that could not be read at the very start, before libc had
    /// set the environment up. Does its work once, when that is possible.
    pub fn configure(&self) {
        if !crate::environment::is_ready() || self.configured.swap(true, Ordering::AcqRel) {
            return;
        }
        let settings = self.read_settings();
        self.abort_on_finding.store(settings.on_finding == OnFinding::Abort, Ordering::Relaxed);
        if settings.mode != Mode::Manual {
            self.heap.reuse_from_now_on(reuse_of(&settings));
        }
        self.apply_quarantine(&settings);
        self.heap.set_purge_delay_ms(settings.purge_delay_ms);
        self.heap.set_huge_pages(huge_pages_of(&settings));
        self.scanning.set_leaks(settings.leaks);
        if let Some(flag) = hk_os::single_thread_flag() {
            self.heap.watch_threads(flag);
        }
        self.open_recording();
        self.record_process(H::ORIGIN);
        self.note_bad_settings();
        H::process().test_sweeps();
        if !self.heap.is_started() {
            self.recording.note(NoteKind::NoHeap, 0, b"");
        } else if self.heap.reserved_bytes() < Options::default().reserve_bytes_max {
            self.recording.note(NoteKind::SmallReservation, self.heap.reserved_bytes() as u64, b"");
        }
    }

    /// Claims an entry of the recording for this process.
    pub(crate) fn record_process(&self, origin: ProcessOrigin) {
        if !self.recording.is_open() {
            return;
        }
        self.process_id.store(Linux.process_id(), Ordering::Relaxed);
        self.watch_requests();
        self.recording.claim_process(origin, self.mode() as u32);
        self.recording.set_heap_count(self.heap.heap_count());
        self.record_guarding();
        if let Some(shared) = self.recording.figures() {
            let shared: *const SharedFigures = shared;
            // SAFETY: same layout (asserted below), in a mapping that lasts as long as the process; all atomics.
            self.heap.set_figures(unsafe { &*shared.cast::<LiveFigures>() });
        }
    }

    /// Who answers when a block is no longer in use.
    pub(crate) fn mode(&self) -> Mode {
        match self.heap.reuse() {
            Reuse::Freed => Mode::Manual,
            Reuse::Never => Mode::Keep,
            Reuse::Swept => Mode::Quarantine,
        }
    }

    /// Whether the recording's entry is this process's, and not its parent's.
    pub(crate) fn is_recorded(&self) -> bool {
        self.process_id.load(Ordering::Relaxed) == Linux.process_id()
    }

    /// The process goes on after all: an exec failed.
    pub fn resume(&self) {
        if self.recording.is_open() && self.is_recorded() {
            self.recording.set_process_state(ProcessState::Running, 0);
            self.watch_requests();
        }
    }

    /// The process ends, or becomes another program: counts what is live, and says so in the recording.
    pub fn finish(&self, state: ProcessState) {
        // Not before an exec: the caller may be a vfork child, and then the heap is its parent's, which is the one to notice.
        if state != ProcessState::Replaced {
            self.heap.notice_fork();
        }
        // In a vfork child the blocks are its parent's, which goes on.
        if state == ProcessState::Counted && self.heap.is_own() {
            self.check_beside_blocks();
        }
        if !self.recording.is_open() || !self.is_recorded() {
            return;
        }
        if state == ProcessState::Counted && self.heap.is_own() {
            H::process().leave_snapshot();
        }
        self.record_sweeps();
        self.end_requests();
        if state == ProcessState::Counted && self.heap.is_started() {
            self.heap.settle_figures();
            // Guarded blocks have no span.
            let (blocks, bytes) = self.guarding.guards.owned();
            let figures = self.heap.figures();
            figures.live_blocks.fetch_add(blocks as u64, Ordering::Relaxed);
            figures.add_live(bytes as i64);
            self.recording.set_resident_bytes(hk_os::resident_bytes() as u64);
        }
        let rough = state == ProcessState::Counted && self.heap.is_started() && self.heap.running_count() > 1;
        let state = if rough { ProcessState::CountedRoughly } else { state };
        self.recording.set_process_state(state, Recording::now_ns());
    }
}

impl<H: Host> ProcessHeap<H> {
    /// Counts all blocks, guarded ones too. Walks all spans.
    pub fn count(&self) -> Count {
        let mut count = self.heap.count();
        let (blocks, bytes) = self.guarding.guards.owned();
        let (spent, _) = self.guarding.guards.spent_bytes();
        count.live_blocks += blocks as u64;
        count.live_bytes += bytes as u64;
        count.span_bytes += (bytes + spent) as u64;
        count
    }
}

const _: () = assert!(size_of::<SharedFigures>() == size_of::<LiveFigures>());
const _: () = assert!(size_of::<hk_format::Figures>() == size_of::<LiveFigures>());

fn reuse_of(settings: &hk_format::Settings) -> Reuse {
    match settings.mode {
        Mode::Manual => Reuse::Freed,
        Mode::Keep => Reuse::Never,
        Mode::Quarantine => Reuse::Swept,
    }
}

fn huge_pages_of(settings: &hk_format::Settings) -> HugePages {
    match settings.huge_pages {
        hk_format::HugePages::None => HugePages::None,
        hk_format::HugePages::Small => HugePages::Small,
        hk_format::HugePages::All => HugePages::All,
    }
}
