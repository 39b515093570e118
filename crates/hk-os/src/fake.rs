//! An operating system of ordinary memory, for tests, Miri and fuzzing.
//!
//! It is stricter than the real one where that finds errors: purged memory is filled with zeros at once,
//! commits are counted against a budget, and a limit can be set at which commits fail.

use crate::{GuardOs, Os, Purged, SignalMask};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed};
use std::collections::BTreeSet;
use std::sync::Mutex;

const SLICE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4 << 10;

/// A fake operating system. Reservations are leaked: a test makes a few, of megabytes.
#[derive(Debug)]
pub struct Fake {
    reserve_bytes_max: usize,
    commit_bytes_left: AtomicUsize,
    clock_ms: AtomicU64,
    process: AtomicU32,
    purge_works: bool,
    purged_bytes: AtomicUsize,
    split_bytes: AtomicUsize,
    populated_bytes: AtomicUsize,
    preferred_bytes: AtomicUsize,
    /// Pages with guards, and pages that are denied: an access to either traps, and each is taken away in its own way.
    guarded: Mutex<BTreeSet<usize>>,
    denied: Mutex<BTreeSet<usize>>,
    locked: AtomicBool,
    has_guards: bool,
    /// The word that was handed out last.
    wiped: AtomicPtr<AtomicU32>,
}

impl Fake {
    /// One that grants reservations of at most `reserve_bytes_max`, and as many commits as are asked for.
    pub const fn new(reserve_bytes_max: usize) -> Self {
        Fake {
            reserve_bytes_max,
            commit_bytes_left: AtomicUsize::new(usize::MAX),
            clock_ms: AtomicU64::new(1),
            process: AtomicU32::new(1),
            purge_works: true,
            purged_bytes: AtomicUsize::new(0),
            split_bytes: AtomicUsize::new(0),
            populated_bytes: AtomicUsize::new(0),
            preferred_bytes: AtomicUsize::new(0),
            guarded: Mutex::new(BTreeSet::new()),
            denied: Mutex::new(BTreeSet::new()),
            locked: AtomicBool::new(false),
            has_guards: true,
            wiped: AtomicPtr::new(null_mut()),
        }
    }

    /// One whose memory is locked: purge does nothing, and says so.
    pub const fn locked(reserve_bytes_max: usize) -> Self {
        let mut fake = Self::new(reserve_bytes_max);
        fake.purge_works = false;
        fake
    }

    /// One that has no guard pages, as Linux before 6.13.
    pub const fn without_guards(reserve_bytes_max: usize) -> Self {
        let mut fake = Self::new(reserve_bytes_max);
        fake.has_guards = false;
        fake
    }

    /// Whether an access at an address would trap.
    pub fn traps(&self, address: usize) -> bool {
        let page = address / PAGE_BYTES;
        self.guarded.lock().unwrap().contains(&page) || self.denied.lock().unwrap().contains(&page)
    }

    /// The process locks its memory from now on, or does so no longer: that takes no guards, and is not given back.
    pub fn set_locked(&self, locked: bool) {
        self.locked.store(locked, Ordering::SeqCst);
    }

    fn set_pages(pages: &Mutex<BTreeSet<usize>>, start: NonNull<u8>, bytes: usize, closed: bool) {
        assert!(start.addr().get().is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES));
        let first = start.addr().get() / PAGE_BYTES;
        let mut pages = pages.lock().unwrap();
        for page in first..first + bytes / PAGE_BYTES {
            let _ = if closed { pages.insert(page) } else { pages.remove(&page) };
        }
    }

    /// From now on only so many more bytes can be committed.
    pub fn limit_commits(&self, bytes: usize) {
        self.commit_bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: u64) {
        self.clock_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Bytes for which huge pages are asked, whenever they are touched.
    pub fn preferred_bytes(&self) -> usize {
        self.preferred_bytes.load(Ordering::SeqCst)
    }

    /// Bytes given back so far.
    pub fn purged_bytes(&self) -> usize {
        self.purged_bytes.load(Ordering::SeqCst)
    }

    /// Bytes of ranges whose huge pages were to be split so far.
    pub fn split_bytes(&self) -> usize {
        self.split_bytes.load(Ordering::SeqCst)
    }

    /// Bytes populated by huge pages so far.
    pub fn populated_bytes(&self) -> usize {
        self.populated_bytes.load(Ordering::SeqCst)
    }

    /// Becomes a fork child.
    pub fn fork(&self) {
        self.process.fetch_add(1, Ordering::SeqCst);
        // SAFETY: null, or leaked by `word_wiped_on_fork`.
        if let Some(word) = unsafe { self.wiped.load(Ordering::SeqCst).as_ref() } {
            word.store(0, Ordering::SeqCst);
        }
    }
}

// SAFETY: the memory comes from std's allocator and is never handed out twice, as it is never freed.
unsafe impl Os for Fake {
    fn reserve(&self, bytes: usize) -> Option<NonNull<u8>> {
        if bytes > self.reserve_bytes_max {
            return None;
        }
        let layout = Layout::from_size_align(bytes, SLICE_BYTES).ok()?;
        // SAFETY: bytes > 0, as the heap never reserves nothing.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    }

    unsafe fn release(&self, _start: NonNull<u8>, _bytes: usize) {}

    unsafe fn commit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        assert!(start.addr().get().is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES));
        Self::set_pages(&self.denied, start, bytes, false);
        let take = |left: usize| left.checked_sub(bytes);
        self.commit_bytes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> Purged {
        assert!(start.addr().get().is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES));
        if !self.purge_works || self.locked.load(Ordering::SeqCst) {
            return Purged::Kept;
        }
        // SAFETY: committed memory whose contents the caller gives up.
        unsafe { start.write_bytes(0, bytes) };
        self.purged_bytes.fetch_add(bytes, Ordering::SeqCst);
        Purged::Zeroed
    }

    unsafe fn populate_huge(&self, start: NonNull<u8>, bytes: usize) {
        assert!(start.addr().get().is_multiple_of(bytes), "a huge page is aligned to its size");
        self.populated_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    unsafe fn prefer_huge(&self, _start: NonNull<u8>, bytes: usize) {
        self.preferred_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    unsafe fn split_huge(&self, _start: NonNull<u8>, bytes: usize) {
        self.split_bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    fn word_wiped_on_fork(&self) -> Option<&'static AtomicU32> {
        let word = std::boxed::Box::leak(std::boxed::Box::new(AtomicU32::new(0)));
        self.wiped.store(word, Ordering::SeqCst);
        Some(word)
    }

    fn wait(&self, _word: &AtomicU32, _expected: u32, _timeout_ms: u32) {
        std::thread::yield_now();
    }

    fn wake_one(&self, _word: &AtomicU32) {}

    fn now_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::SeqCst)
    }

    fn address_space_left(&self) -> Option<usize> {
        None
    }

    fn block_signals(&self) -> SignalMask {
        SignalMask(0)
    }

    fn restore_signals(&self, _mask: SignalMask) {}

    fn thread_token(&self) -> usize {
        std::thread_local!(static MARK: u8 = const { 0 });
        MARK.with(|mark| core::ptr::from_ref(mark).addr())
    }

    fn process_id(&self) -> u32 {
        self.process.load(Ordering::SeqCst)
    }
}

// SAFETY: as above; pages that are guarded or denied were given up by the caller.
unsafe impl GuardOs for Fake {
    unsafe fn install_guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if !self.has_guards || self.locked.load(Ordering::SeqCst) {
            return false;
        }
        Self::set_pages(&self.guarded, start, bytes, true);
        // SAFETY: committed memory whose contents the caller gives up.
        unsafe { start.write_bytes(0, bytes) };
        true
    }

    unsafe fn remove_guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        Self::set_pages(&self.guarded, start, bytes, false);
        true
    }

    unsafe fn remove_guards(&self, pages: &[NonNull<u8>]) -> bool {
        pages.iter().for_each(|&page| Self::set_pages(&self.guarded, page, PAGE_BYTES, false));
        true
    }

    unsafe fn permit(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's word; here nothing is lost by it.
        unsafe { self.commit(start, bytes) }
    }

    unsafe fn deny(&self, start: NonNull<u8>, bytes: usize) -> bool {
        Self::set_pages(&self.denied, start, bytes, true);
        true
    }

    fn memory_bytes(&self) -> usize {
        1 << 30
    }
}
