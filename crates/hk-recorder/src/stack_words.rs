//! Reading the words of a stack without asking the kernel about each.
//!
//! What can be read is known of three kinds of stacks:
//!
//! - a thread's own, from its stack pointer up to its top: the thread's control block, which the thread pointer
//!   gives and which lies above the stack, or for the first thread what the kernel put there at the start
//!   (AT_RANDOM). No page between is unmapped while the thread runs on it. The kernel is asked once for each
//!   page as the stack gets deeper; the range is kept by thread pointer, and dropped when its thread ends.
//! - any other (of a coroutine, or of signals): it may be unmapped whenever nobody runs on it, and its top is
//!   not known. If reads recover from faults, its pages are kept too.
//! - if they do not, the kernel is asked about each page, once a walk.

use crate::pair::Pair;
use crate::read_word::{read_word, reads_recover};
use crate::sys;
use core::sync::atomic::{AtomicU64, Ordering};
use hk_format::PAGE_BYTES;

/// Threads whose stacks are known, and pages; more displace each other. A thread has some places to be at: who
/// is displaced asks the kernel at each walk.
const THREADS: usize = 1024;
const THREAD_PLACES: usize = 4;
const PAGES: usize = 1024;
/// Pages that the kernel is asked about to tell a thread's own stack; more are no stack.
const OWN_PAGES_MAX: u64 = 4096;
const PAGE: u64 = PAGE_BYTES as u64;
/// How the pages of a range are packed: the number of its first page, and how many.
const COUNT_BITS: u32 = 24;

/// What was found readable.
pub(crate) struct ReadableStacks {
    /// By thread pointer: the range of a thread's own stack.
    own: [Pair; THREADS],
    /// By thread pointer and place: where a thread was when that was not its own stack.
    foreign: [AtomicU64; THREADS],
    /// Numbers of pages that are part of other stacks.
    pages: [AtomicU64; PAGES],
}

/// Addresses from `low` to before `high`.
#[derive(Clone, Copy, Default)]
struct Range {
    low: u64,
    high: u64,
}

impl Range {
    fn unpack(value: u64) -> Range {
        let low = (value >> COUNT_BITS) * PAGE;
        Range { low, high: low + (value & ((1 << COUNT_BITS) - 1)) * PAGE }
    }

    fn pack(self) -> u64 {
        ((self.low / PAGE) << COUNT_BITS) | ((self.high - self.low) / PAGE)
    }

    fn contains(self, address: u64) -> bool {
        self.low <= address && address < self.high
    }

    /// How many addresses in it are those of whole words.
    fn span(self) -> u64 {
        (self.high - self.low).saturating_sub(7)
    }
}

impl ReadableStacks {
    pub(crate) const fn new() -> Self {
        ReadableStacks {
            own: [const { Pair::NONE }; THREADS],
            foreign: [const { AtomicU64::new(0) }; THREADS],
            pages: [const { AtomicU64::new(0) }; PAGES],
        }
    }

    /// A reader for a walk of the calling thread that begins at stack pointer `sp`.
    #[inline]
    pub(crate) fn reader(&self, sp: u64) -> StackReader<'_> {
        let range = self.range_at(sp);
        StackReader { known: self, low: range.low, span: range.span() }
    }

    /// The calling thread's own stack if `sp` is on it and it is in use from there on; else nothing.
    #[inline]
    fn range_at(&self, sp: u64) -> Range {
        let thread = thread_pointer();
        match self.range_of(thread) {
            Some(range) if range.contains(sp) => range,
            known => self.find_range(thread, sp, known),
        }
    }

    /// The own stack of a thread, as far as it is known.
    #[inline(always)]
    fn range_of(&self, thread: u64) -> Option<Range> {
        self.places(thread).find_map(|place| place.get(thread)).map(Range::unpack)
    }

    #[inline(always)]
    fn places(&self, thread: u64) -> impl Iterator<Item = &Pair> {
        let first = slot(thread, THREADS);
        (0..THREAD_PLACES).map(move |i| &self.own[(first + i) % THREADS])
    }

    /// Forgets the calling thread's stack, which may be unmapped soon.
    pub(crate) fn forget_thread(&self) {
        let thread = thread_pointer();
        self.places(thread).filter(|place| place.get(thread).is_some()).for_each(Pair::clear);
    }

    /// The calling thread's own stack if it runs on it, made known; else nothing.
    #[cold]
    #[inline(never)]
    fn find_range(&self, thread: u64, sp: u64, known: Option<Range>) -> Range {
        let elsewhere = &self.foreign[slot(thread ^ (sp >> 16), THREADS)];
        let mark = (thread ^ ((sp >> 16) << 1)) | 1;
        let top = own_top(thread, sp);
        // Relaxed: a mark leads to nothing; one that is not seen costs some questions.
        if top == 0 || elsewhere.load(Ordering::Relaxed) == mark {
            return Range::default();
        }
        let low = sp - sp % PAGE;
        let high = (top - top % PAGE) + PAGE;
        let asked_to = known.filter(|known| known.high == high && sp < known.low).map_or(high, |k| k.low);
        let readable = (asked_to - low) / PAGE <= OWN_PAGES_MAX
            && (low..asked_to).step_by(PAGE_BYTES).all(|page| sys::is_readable(page as usize));
        if !readable {
            // Relaxed: as above.
            elsewhere.store(mark, Ordering::Relaxed);
            return Range::default();
        }
        let range = Range { low, high };
        let place = (self.places(thread).find(|place| place.get(thread).is_some()))
            .or_else(|| self.places(thread).find(|place| place.is_empty()))
            .unwrap_or(&self.own[slot(thread, THREADS)]);
        place.set(thread, range.pack());
        range
    }

    fn is_known(&self, page: u64) -> bool {
        // Relaxed: a page's number leads to nothing but the page, of which a fault tells if it has gone.
        page != 0 && self.pages[slot(page, PAGES)].load(Ordering::Relaxed) == page
    }

    fn remember(&self, page: u64) {
        // Relaxed: as in `is_known`.
        self.pages[slot(page, PAGES)].store(page, Ordering::Relaxed);
    }

    fn forget(&self, page: u64) {
        if self.is_known(page) {
            // Relaxed: as in `is_known`. A page that came into the place meanwhile is asked about again.
            self.pages[slot(page, PAGES)].store(0, Ordering::Relaxed);
        }
    }
}

/// Reads words for one walk.
pub(crate) struct StackReader<'a> {
    known: &'a ReadableStacks,
    /// Where what can be read begins, and how many addresses in it are those of whole words.
    low: u64,
    span: u64,
}

impl StackReader<'_> {
    /// Goes on at `sp`, on another stack or the same: where a signal interrupted the thread.
    #[inline]
    pub(crate) fn follow(&mut self, sp: u64) {
        if sp.wrapping_sub(self.low) < self.span {
            return;
        }
        let own = self.known.range_at(sp);
        // Else it is read as any other stack, page by page.
        if own.span() != 0 {
            (self.low, self.span) = (own.low, own.span());
        }
    }

    /// The word at `address`, if it can be read.
    #[inline(always)]
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        if address.wrapping_sub(self.low) < self.span {
            return read_known(address);
        }
        self.word_elsewhere(address)
    }

    #[cold]
    #[inline(never)]
    fn word_elsewhere(&mut self, address: u64) -> Option<u64> {
        // Back on the thread's own stack, from another.
        if let Some(own) = self.known.range_of(thread_pointer())
            && address.wrapping_sub(own.low) < own.span()
        {
            (self.low, self.span) = (own.low, own.span());
            return read_known(address);
        }
        let (first, last) = (address / PAGE, address.checked_add(7)? / PAGE);
        if !self.is_readable(first) || (first != last && !self.is_readable(last)) {
            return None;
        }
        self.widen(first, last);
        let word = read_known(address);
        if word.is_none() {
            self.known.forget(first);
            self.known.forget(last);
        }
        word
    }

    /// Whether `page` can be read: found so before, if a fault would be got over, or as the kernel says.
    fn is_readable(&self, page: u64) -> bool {
        if reads_recover() && self.known.is_known(page) {
            return true;
        }
        let readable = sys::is_readable((page * PAGE) as usize);
        if readable {
            self.known.remember(page);
        }
        readable
    }

    /// Takes pages into what can be read, if they adjoin it, or else for it.
    fn widen(&mut self, first: u64, last: u64) {
        let (low, high) = (first * PAGE, (last + 1) * PAGE);
        let end = self.low + self.span + 7;
        let adjoins = self.span != 0 && low <= end && self.low <= high;
        let (low, high) = if adjoins { (low.min(self.low), high.max(end)) } else { (low, high) };
        (self.low, self.span) = (low, high - low - 7);
    }
}

#[inline(always)]
#[allow(unsafe_code, reason = "reads what was found readable")]
fn read_known(address: u64) -> Option<u64> {
    // SAFETY: `StackReader` calls this only for what the kernel found readable: now, in a range that stays
    // mapped while the calling thread runs, or earlier, if reads recover.
    unsafe { read_word(address) }
}

/// A number that tells this thread from all that run: the address of its control block.
#[inline(always)]
#[allow(unsafe_code, reason = "reads the thread pointer")]
fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the first word of the control block is its own address, by the ABI of x86-64.
    unsafe {
        core::arch::asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}

/// A mapped address that is the top of the thread's stack if `sp` is on it; 0 if it cannot be.
fn own_top(thread: u64, sp: u64) -> u64 {
    let near = |top: u64| sp < top && top - sp < OWN_PAGES_MAX * PAGE;
    let first_threads = first_top();
    if near(first_threads) {
        first_threads
    } else if near(thread) {
        thread
    } else {
        0
    }
}

/// Where the kernel put sixteen random bytes: above the frames of the first thread.
#[allow(unsafe_code, reason = "asks libc")]
fn first_top() -> u64 {
    // SAFETY: takes any number; sets errno only for kinds that the kernel did not pass, and this it does.
    unsafe { libc::getauxval(libc::AT_RANDOM) }
}

fn slot(key: u64, slots: usize) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % slots
}
