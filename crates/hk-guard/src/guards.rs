//! Guarded blocks as a value: allocate, free, and what is known of them.

use crate::batch::Batch;
use crate::canary::{self, Damage};
use crate::layout::{CHUNK_BYTES, Data, Kind, Layout, PAGE_BYTES, SLOTS_PER_CHUNK_MAX};
use crate::pages::{Closed, PROTECTED_MAX, Pages};
use crate::placement::{Placement, pages_needed, place};
use crate::pool::{Area, Pool, READY_MAX, Taken};
use crate::slot::{DENIED, DIRTY, Event, Life, OPENED, PROTECTED, Slot, SlotId, State};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use hk_heap::lock::{Found, Lock};
use hk_os::GuardOs;

/// Makes the first bytes of the area accessible; false if that is refused.
pub type Commit = fn(usize) -> bool;

/// What guards are told at their start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Pages of freed blocks that rest before they are used again.
    pub rest_pages: usize,
    /// Memory that guarding may take beyond what the program asked for, in bytes: the rest of blocks' pages, and records.
    pub bytes_max: usize,
    /// Makes the area accessible.
    pub commit: Commit,
}

/// How pages are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By guard pages: Linux 6.13.
    GuardPages,
    /// By protection, which splits mappings, so that there can be only so many blocks.
    Protection {
        /// Blocks at a time, at most.
        blocks_max: usize,
    },
}

/// Where a block stands in its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At their end: the bytes behind it trap.
    End,
    /// At their start: the bytes before it trap.
    Start,
}

/// What is to be allocated.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// So many bytes.
    pub bytes: usize,
    /// At a multiple of this, a power of two.
    pub align: usize,
    /// Where in its pages.
    pub side: Side,
    /// It has to be zero.
    pub zeroed: bool,
    /// A number to be kept.
    pub family: u8,
    /// By whom.
    pub allocated: Event,
}

/// Why a block could not be guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It would take more memory than guarded blocks may; or more mappings.
    Budget,
    /// A signal handler interrupted this thread while it held the lock.
    Reentered,
    /// There is no room left, or no memory.
    NoRoom,
}

/// What a free came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freed {
    /// The block is freed; what stood beside it may have been overwritten.
    Done(Life, Option<Damage>),
    /// It had been freed before.
    Twice(Life),
    /// The address is not its start.
    NotStart(Life),
    /// There is no block.
    NoBlock,
}

/// See the module head.
#[derive(Debug)]
pub struct Guards<O> {
    pub(crate) os: O,
    pub(crate) base: AtomicPtr<u8>,
    /// Bytes of the area; 0 before the start.
    pub(crate) bytes: AtomicUsize,
    /// Under `lock`, from the start on.
    layout: core::cell::Cell<Option<Layout>>,
    commit: AtomicPtr<()>,
    rest_pages: AtomicUsize,
    bytes_max: AtomicUsize,
    spent_bytes: AtomicUsize,
    live_blocks: AtomicUsize,
    /// Of the blocks that the program has: those that wait for their guards are not among them.
    owned_blocks: AtomicUsize,
    owned_bytes: AtomicUsize,
    pub(crate) pages: Pages,
    pub(crate) batch: Batch,
    /// Slots can't be opened some at a time.
    ahead_fails: AtomicBool,
    /// Freed blocks whose pages could not be closed.
    unclosed: AtomicUsize,
    blocks_signals: AtomicBool,
    lock: Lock,
    /// Under the lock.
    pub(crate) pool: Pool,
}

// SAFETY: the pool's cells are accessed under the lock; the layout is written before `bytes`, once; all else is atomic.
unsafe impl<O: GuardOs> Sync for Guards<O> {}

impl<O: GuardOs> Guards<O> {
    /// Guards that have not started.
    pub const fn new(os: O) -> Self {
        Guards {
            os,
            base: AtomicPtr::new(null_mut()),
            bytes: AtomicUsize::new(0),
            layout: core::cell::Cell::new(None),
            commit: AtomicPtr::new(null_mut()),
            rest_pages: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(0),
            spent_bytes: AtomicUsize::new(0),
            live_blocks: AtomicUsize::new(0),
            owned_blocks: AtomicUsize::new(0),
            owned_bytes: AtomicUsize::new(0),
            pages: Pages::new(),
            batch: Batch::new(),
            ahead_fails: AtomicBool::new(false),
            unclosed: AtomicUsize::new(0),
            blocks_signals: AtomicBool::new(true),
            lock: Lock::new(),
            pool: Pool::new(),
        }
    }

    /// The operating system that it was made with.
    pub fn system(&self) -> &O {
        &self.os
    }

    /// Starts in an area of a reservation, which is given to it for good. To be called once. None if there is no room or memory.
    pub fn start(&self, area: NonNull<u8>, bytes: usize, options: &Options) -> Option<Method> {
        let layout = Layout::of(bytes)?;
        if !(options.commit)(layout.chunk_start(0)) {
            return None;
        }
        if let Some(word) = self.os.word_wiped_on_fork() {
            let (_guard, _) = self.lock.lock(&self.os, true);
            self.lock.watch_forks(word);
        }
        self.layout.set(Some(layout));
        self.commit.store(options.commit as *mut (), Ordering::Relaxed);
        self.rest_pages.store(options.rest_pages, Ordering::Relaxed);
        self.bytes_max.store(options.bytes_max, Ordering::Relaxed);
        self.base.store(area.as_ptr(), Ordering::Relaxed);
        // Release: who sees the size sees all the rest.
        self.bytes.store(bytes, Ordering::Release);
        Some(self.find_method())
    }

    /// Tries a guard page out, in the first chunk.
    fn find_method(&self) -> Method {
        let layout = self.layout();
        let committed = self.commit_up_to(layout.chunk_start(0) + CHUNK_BYTES);
        let page = self.place_at(layout.pages_of_chunk(0).start);
        // SAFETY: a page of the area, committed just now, and not in use yet.
        if committed && unsafe { self.os.install_guard(page, PAGE_BYTES) } {
            return Method::GuardPages;
        }
        self.pages.use_protection();
        Method::Protection { blocks_max: self.pages.blocks_max() }
    }

    /// Whether it has started.
    pub fn is_started(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > 0
    }

    /// Whether an address lies in the area.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        // Acquire pairs with the start.
        let bytes = self.bytes.load(Ordering::Acquire);
        address.wrapping_sub(self.base.load(Ordering::Relaxed).addr()) < bytes
    }

    /// Whether signal handlers may interrupt the process and allocate.
    pub fn expect_signals(&self, signals: bool) {
        self.blocks_signals.store(signals, Ordering::Relaxed);
    }

    /// The area became smaller: what lies behind may be somebody else's by now.
    pub fn shrink(&self, bytes: usize) {
        self.bytes.fetch_min(bytes, Ordering::Relaxed);
    }

    /// Whether pages may be closed by protection and not by guard pages.
    pub fn uses_protection(&self) -> bool {
        self.pages.are_protected() || self.is_batched()
    }

    /// Whether an address lies in the pages of a live block: then a fault there is of the past.
    pub fn is_live_at(&self, address: usize) -> bool {
        let life = self.slot_at(address).map(|(id, _)| self.life(self.slot(id)));
        life.is_some_and(|life| life.is_live && (life.pages_start..life.pages_end).contains(&address))
    }

    /// How many ranges can be closed by protection at a time, at most.
    pub fn protected_max(&self) -> usize {
        PROTECTED_MAX
    }

    /// How many blocks can be guarded at a time, at most.
    pub fn blocks_max(&self) -> usize {
        self.pages.blocks_max()
    }

    /// Memory that live guarded blocks take beyond what was asked for, in bytes, and what they may take of it.
    pub fn spent_bytes(&self) -> (usize, usize) {
        (self.spent_bytes.load(Ordering::Relaxed), self.bytes_max.load(Ordering::Relaxed))
    }

    /// How many freed blocks could not be closed since this was asked last: locked memory takes no guards, and there are only so many mappings.
    pub fn take_unclosed(&self) -> usize {
        if self.unclosed.load(Ordering::Relaxed) == 0 { 0 } else { self.unclosed.swap(0, Ordering::Relaxed) }
    }

    /// Blocks that the program has, and the bytes that it asked for.
    pub fn owned(&self) -> (usize, usize) {
        (self.owned_blocks.load(Ordering::Relaxed), self.owned_bytes.load(Ordering::Relaxed))
    }

    /// A guarded block.
    ///
    /// # Errors
    /// Why there is none.
    pub fn allocate(&self, request: &Request) -> Result<NonNull<u8>, Refused> {
        if !self.is_started() {
            return Err(Refused::NoRoom);
        }
        let pages = pages_needed(request.bytes, request.align).ok_or(Refused::NoRoom)?;
        let bytes = request.bytes.checked_next_multiple_of(PAGE_BYTES).ok_or(Refused::NoRoom)?;
        let spent = bytes - request.bytes + size_of::<Slot>();
        self.charge(spent)?;
        let given = self.take(pages, request.bytes > 0).and_then(|taken| self.fit_out(taken, request));
        if given.is_err() {
            self.discharge(spent);
        }
        given
    }

    fn take(&self, pages: usize, has_bytes: bool) -> Result<Taken, Refused> {
        if self.lock.is_mine(&self.os) {
            return Err(Refused::Reentered);
        }
        let rest_pages = self.rest_pages.load(Ordering::Relaxed);
        let (_guard, found) = self.lock.lock(&self.os, self.blocks_signals.load(Ordering::Relaxed));
        self.arrive(found);
        let goes_ahead = !self.pages.is_by_protection() && !self.ahead_fails.load(Ordering::Relaxed);
        let taken = if pages == 1 && has_bytes && goes_ahead {
            self.pool.take_ready(self, rest_pages, |ids| self.open_ahead(ids))
        } else {
            self.pool.take(self, pages, rest_pages)
        };
        taken.ok_or(Refused::NoRoom)
    }

    fn open_ahead(&self, ids: &[SlotId]) -> bool {
        if ids.iter().any(|&id| Area::slot(self, id).has_mark(PROTECTED)) {
            return false;
        }
        if ids.iter().any(|&id| Area::slot(self, id).has_mark(DENIED)) {
            let permitted = self.permit_ahead(ids);
            if !permitted {
                // Some may be open, and written to until they are used.
                ids.iter().for_each(|&id| Area::slot(self, id).set_mark(DIRTY));
            }
            return permitted;
        }
        let mut places = [NonNull::dangling(); READY_MAX];
        for (place, &id) in places.iter_mut().zip(ids) {
            let Some(data) = self.data_of(id) else { return false };
            *place = self.place_at(data.start);
        }
        // SAFETY: pages of slots that were just taken, committed when their chunk was made.
        let opened = unsafe { self.pages.open_pages(&self.os, &places[..ids.len()]) };
        if !opened {
            // The system does not know how (Linux before 6.14), or a sandbox forbids it: it will not do later either.
            self.ahead_fails.store(true, Ordering::Relaxed);
        }
        opened
    }

    /// Slots that were denied together mostly come together: neighbours are opened at once, the guards between them stay.
    fn permit_ahead(&self, ids: &[SlotId]) -> bool {
        ids.chunk_by(|before, id| before.0 + 1 == id.0).all(|run| {
            let ends = (self.data_of(run[0]), self.data_of(run[run.len() - 1]));
            let (Some(first), Some(last)) = ends else { return false };
            let is_together = last.end.wrapping_sub(first.start) == (2 * run.len() - 1) * PAGE_BYTES;
            let opened = is_together && self.permit(Data { start: first.start, end: last.end });
            opened && run.iter().all(|&id| Area::slot(self, id).take_mark(DENIED) || self.open_slot(id))
        })
    }

    /// The data pages of a slot that may have guards.
    fn open_slot(&self, id: SlotId) -> bool {
        self.data_of(id).is_some_and(|data| self.open(data))
    }

    /// After a fork by a bare system call.
    fn arrive(&self, found: Found) {
        if found == Found::Abandoned {
            self.pool.rebuild(self, |slot| matches!(slot.state(), State::Empty | State::Freed));
        }
    }

    /// Opens the pages of a slot that was taken, and puts the block into them.
    fn fit_out(&self, taken: Taken, request: &Request) -> Result<NonNull<u8>, Refused> {
        let Taken { id, kind, chunk, is_open } = taken;
        let slot = self.slot(id);
        let layout = self.layout();
        let data = layout.data(chunk, kind, self.index_of(id)).ok_or(Refused::NoRoom)?;
        let was_opened = slot.take_mark(OPENED);
        if was_opened {
            self.close_slot(slot, Data { start: data.start, end: data.end + PAGE_BYTES });
        }
        let at_end = request.side == Side::End;
        let placement = place(self.base_address(), data, request.bytes, request.align, at_end);
        let is_open = is_open && !was_opened;
        if !is_open && !self.open_for(slot, data, placement.pages) {
            self.pool.give_back(self, id, kind);
            return Err(Refused::NoRoom);
        }
        slot.start.store(placement.start, Ordering::Relaxed);
        slot.bytes.store(request.bytes, Ordering::Relaxed);
        slot.align.store(request.align.trailing_zeros() as u8, Ordering::Relaxed);
        slot.family.store(request.family, Ordering::Relaxed);
        slot.set_allocated(request.allocated);
        // What is open ahead a stale pointer may have written to.
        let is_zero = !slot.has_mark(DIRTY) && !is_open;
        if placement.pages == data {
            slot.take_mark(DIRTY);
        }
        if request.zeroed && !is_zero {
            // SAFETY: the slot's own pages, opened just now; the block is nobody's yet.
            unsafe { self.place_at(placement.start).write_bytes(0, request.bytes) };
        }
        self.fill_canary(&placement, request.bytes);
        self.owned_blocks.fetch_add(1, Ordering::Relaxed);
        self.owned_bytes.fetch_add(request.bytes, Ordering::Relaxed);
        slot.set_state(State::Live);
        Ok(self.place_at(placement.start))
    }

    /// Opens the pages that a block is to have. What was closed by protection stays marked as far as it stays closed. False if the system
    /// refuses; then all is as it was.
    fn open_for(&self, slot: &Slot, data: Data, pages: Data) -> bool {
        if pages.start == pages.end {
            return true;
        }
        let is_protected = slot.has_mark(PROTECTED);
        let must_permit = is_protected || slot.has_mark(DENIED);
        if must_permit && !self.permit(pages) || !self.open(pages) {
            return false;
        }
        if is_protected && pages == data && slot.take_mark(PROTECTED) {
            self.pages.note_permitted();
        }
        if pages == data {
            slot.take_mark(DENIED);
        }
        true
    }

    /// Frees the block at `address`.
    pub fn free(&self, address: usize, freed: Event) -> Freed {
        let Some((id, kind)) = self.slot_at(address) else { return Freed::NoBlock };
        let slot = self.slot(id);
        if slot.state() == State::Empty {
            return Freed::NoBlock;
        }
        if slot.start.load(Ordering::Relaxed) != address - self.base_address() {
            return Freed::NotStart(self.life(slot));
        }
        if !slot.step(State::Live, State::Closing) {
            return Freed::Twice(self.life(slot));
        }
        let life = self.life(slot);
        self.owned_blocks.fetch_sub(1, Ordering::Relaxed);
        self.owned_bytes.fetch_sub(life.requested_bytes, Ordering::Relaxed);
        let damage = self.damage(&life);
        slot.set_freed(freed);
        if kind == Kind::Slots(0) && damage.is_none() && self.waits(id, slot, &life) {
            return Freed::Done(life, None);
        }
        self.close_freed(id, slot, &life);
        slot.set_state(State::Freed);
        self.discharge(spent_on(&life));
        self.pool.give_back(self, id, kind);
        Freed::Done(life, damage)
    }

    fn close_freed(&self, id: SlotId, slot: &Slot, life: &Life) {
        let base = self.base_address();
        let mut range = Data { start: life.pages_start - base, end: life.pages_end - base };
        if slot.take_mark(OPENED)
            && let Some(data) = self.data_of(id)
        {
            range = Data { start: data.start, end: data.end + PAGE_BYTES };
        }
        if range.start < range.end {
            self.close_slot(slot, range);
        }
    }

    /// Closes pages of a slot, and marks how that went.
    pub(crate) fn close_slot(&self, slot: &Slot, range: Data) {
        let closed = self.close(range);
        if let Closed::ByProtection { .. } = closed {
            // Counted once, however many of its pages are so closed.
            if slot.has_mark(PROTECTED) {
                self.pages.note_permitted();
            }
            slot.set_mark(PROTECTED);
        }
        if let Closed::Not { .. } = closed {
            self.unclosed.fetch_add(1, Ordering::Relaxed);
        }
        // What is open still a stale pointer may write to.
        if let Closed::ByProtection { is_zero: false } | Closed::Not { .. } = closed {
            slot.set_mark(DIRTY);
        }
    }

    /// The live block at `address`, if that is the start of one: what was asked for.
    pub fn live_at(&self, address: usize) -> Option<Life> {
        let (id, _) = self.slot_at(address)?;
        let slot = self.slot(id);
        let life = self.life(slot);
        (slot.state() == State::Live && life.start == address).then_some(life)
    }

    /// What is known of the block whose slot an address lies in, its guard page included.
    pub fn life_at(&self, address: usize) -> Option<Life> {
        let (id, _) = self.slot_at(address)?;
        let slot = self.slot(id);
        (slot.state() != State::Empty).then(|| self.life(slot))
    }

    /// Calls `found` for each live block that was allocated since `since_ns` and beside which something was overwritten. For the process's end;
    /// other threads may run meanwhile.
    pub fn for_each_damaged(&self, since_ns: u64, mut found: impl FnMut(Life, Damage)) {
        if !self.is_started() {
            return;
        }
        let layout = self.layout();
        for chunk in 0..layout.chunk_count() {
            let kind = self.kind_of(chunk);
            if kind == Kind::Unused {
                return;
            }
            let mut index = 0;
            while layout.data(chunk, kind, index).is_some() {
                let slot = self.slot(self.id(chunk, index));
                let life = self.life(slot);
                if life.is_live
                    && life.allocated.time_ns >= since_ns
                    && let Some(damage) = self.damage(&life)
                    // Not freed meanwhile, nor another block's by now.
                    && self.life(slot) == life
                {
                    found(life, damage);
                }
                index += 1;
            }
        }
    }

    /// For fork: nobody changes the lists until one of the two below is called. Before the start there are none, and no mark by which a child would
    /// know a lock that was held when it was made.
    pub fn prepare_fork(&self) {
        if !self.is_started() {
            return;
        }
        let found = self.lock.lock_raw(&self.os, self.blocks_signals.load(Ordering::Relaxed));
        self.arrive(found);
    }

    /// After fork, in the parent.
    pub fn after_fork_in_parent(&self) {
        if self.is_started() {
            self.lock.unlock_raw(&self.os);
        }
    }

    /// After fork, in the child.
    pub fn after_fork_in_child(&self) {
        if !self.is_started() {
            return;
        }
        self.lock.keep_after_fork();
        self.lock.unlock_raw(&self.os);
    }

    fn charge(&self, bytes: usize) -> Result<(), Refused> {
        let blocks = self.live_blocks.fetch_add(1, Ordering::Relaxed) + 1;
        let spent = self.spent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if spent > self.bytes_max.load(Ordering::Relaxed) || blocks > self.pages.blocks_max() {
            self.discharge(bytes);
            return Err(Refused::Budget);
        }
        Ok(())
    }

    pub(crate) fn discharge(&self, bytes: usize) {
        self.live_blocks.fetch_sub(1, Ordering::Relaxed);
        self.spent_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn fill_canary(&self, placement: &Placement, bytes: usize) {
        let (start, end) = (placement.start, placement.start + bytes);
        let pages = placement.pages;
        // SAFETY: the slot's own pages, opened just now; the block is nobody's yet.
        unsafe { canary::fill(self.place_at(pages.start).as_ptr(), start.saturating_sub(pages.start)) };
        // SAFETY: as above.
        unsafe { canary::fill(self.place_at(end).as_ptr(), pages.end - end) };
    }

    fn damage(&self, life: &Life) -> Option<Damage> {
        let end = life.start + life.requested_bytes;
        let (before, behind) = (life.start.saturating_sub(life.pages_start), life.pages_end - end);
        let base = self.base_address();
        // SAFETY: the block's pages are open as long as it is live or closing.
        let front = unsafe { canary::check(self.place_at(life.pages_start - base).as_ptr(), before) };
        // SAFETY: as above.
        let back = unsafe { canary::check(self.place_at(end - base).as_ptr(), behind) };
        // An overrun is the more frequent; both at once is one finding.
        back.or(front)
    }
}

/// What a live block takes beyond what was asked for. A block may begin and end in the midst of a page.
pub(crate) fn spent_on(life: &Life) -> usize {
    life.requested_bytes.next_multiple_of(PAGE_BYTES) - life.requested_bytes + size_of::<Slot>()
}

/// Addresses and slots.
impl<O: GuardOs> Guards<O> {
    pub(crate) fn layout(&self) -> &Layout {
        // SAFETY: written once, before the size that callers have seen; never written again.
        unsafe { &*self.layout.as_ptr() }.as_ref().expect("it has started")
    }

    pub(crate) fn base_address(&self) -> usize {
        self.base.load(Ordering::Relaxed).addr()
    }

    pub(crate) fn place_at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset <= self.bytes.load(Ordering::Relaxed));
        let place = self.base.load(Ordering::Relaxed).wrapping_add(offset);
        NonNull::new(place).expect("the area does not lie at address 0")
    }

    pub(crate) fn kind_of(&self, chunk: usize) -> Kind {
        // Acquire pairs with the making of the chunk: its records are there.
        Kind::from_word(self.kind(chunk).load(Ordering::Acquire))
    }

    /// The slot that an address lies in, its guard page included.
    pub(crate) fn slot_at(&self, address: usize) -> Option<(SlotId, Kind)> {
        if !self.contains(address) {
            return None;
        }
        let offset = address - self.base_address();
        let (chunk, kind, index) = self.layout().slot_at(offset, |chunk| self.kind_of(chunk))?;
        Some((self.id(chunk, index), kind))
    }

    pub(crate) fn index_of(&self, id: SlotId) -> usize {
        (id.0 as usize - 1) % SLOTS_PER_CHUNK_MAX
    }

    pub(crate) fn data_of(&self, id: SlotId) -> Option<Data> {
        let chunk = (id.0 as usize - 1) / SLOTS_PER_CHUNK_MAX;
        self.layout().data(chunk, self.kind_of(chunk), self.index_of(id))
    }

    pub(crate) fn life(&self, slot: &Slot) -> Life {
        let base = self.base_address();
        let start = slot.start.load(Ordering::Relaxed);
        let bytes = slot.bytes.load(Ordering::Relaxed);
        let pages_end = (start + bytes).next_multiple_of(PAGE_BYTES);
        let is_live = slot.state() == State::Live;
        Life {
            start: base + start,
            requested_bytes: bytes,
            align_bytes: 1 << (slot.align.load(Ordering::Relaxed) & 63),
            pages_start: base + (start / PAGE_BYTES * PAGE_BYTES).min(pages_end),
            pages_end: base + pages_end,
            is_live,
            family: slot.family.load(Ordering::Relaxed),
            allocated: slot.allocated(),
            freed: if is_live { Event::default() } else { slot.freed() },
        }
    }

    pub(crate) fn open(&self, range: Data) -> bool {
        // SAFETY: pages of the area, committed when their chunk was made.
        unsafe { self.pages.open(&self.os, self.place_at(range.start), range.end - range.start) }
    }

    pub(crate) fn close(&self, range: Data) -> Closed {
        // SAFETY: as above; the caller's slot, whose contents are no longer needed.
        unsafe { self.pages.close(&self.os, self.place_at(range.start), range.end - range.start) }
    }

    /// Makes a range accessible again that was denied, with what it holds.
    pub(crate) fn permit(&self, range: Data) -> bool {
        // SAFETY: pages of the area, committed when their chunk was made.
        unsafe { self.os.permit(self.place_at(range.start), range.end - range.start) }
    }

    /// Makes a range inaccessible, and keeps what it holds.
    pub(crate) fn deny(&self, range: Data) -> bool {
        // SAFETY: as above; the caller's slots, which nobody uses.
        unsafe { self.os.deny(self.place_at(range.start), range.end - range.start) }
    }

    fn commit_up_to(&self, offset: usize) -> bool {
        let commit = self.commit.load(Ordering::Relaxed);
        // SAFETY: stored at the start, from a `Commit`.
        let commit: Commit = unsafe { core::mem::transmute(commit) };
        commit(offset)
    }
}

impl<O: GuardOs> Area for Guards<O> {
    fn layout(&self) -> &Layout {
        Guards::layout(self)
    }

    fn kind(&self, chunk: usize) -> &AtomicU32 {
        assert!(chunk < Guards::layout(self).chunk_count());
        let kinds: *const AtomicU32 = self.base.load(Ordering::Relaxed).cast_const().cast();
        // SAFETY: the table at the start of the area, committed at the start, has a word for each chunk.
        let kind = unsafe { kinds.add(chunk) };
        // SAFETY: as above; accessed as atomics only.
        unsafe { &*kind }
    }

    fn slot(&self, id: SlotId) -> &Slot {
        let chunk = (id.0 as usize - 1) / SLOTS_PER_CHUNK_MAX;
        let records: *const Slot =
            self.place_at(Guards::layout(self).chunk_start(chunk)).as_ptr().cast_const().cast();
        // SAFETY: a chunk begins with room for so many records, which are committed with it; ids are only made of chunks in use.
        let slot = unsafe { records.add(self.index_of(id)) };
        // SAFETY: as above; zero is a valid record, and records are accessed as atomics only.
        unsafe { &*slot }
    }

    fn id(&self, chunk: usize, index: usize) -> SlotId {
        SlotId((chunk * SLOTS_PER_CHUNK_MAX + index + 1) as u32)
    }

    fn make_chunks(&self, first: usize, count: usize) -> bool {
        let layout = Guards::layout(self);
        if !self.commit_up_to(layout.chunk_start(first + count)) {
            return false;
        }
        let pages = layout.pages_of_chunk(first);
        let end = layout.chunk_start(first + count);
        let closed = self.close(Data { start: pages.start, end });
        if let Closed::ByProtection { is_zero } = closed
            && !self.pages.is_by_protection()
        {
            // Its slots have to be opened accordingly. What nobody had yet is as the system gives it, if it could be given back.
            let marks = if is_zero { DENIED } else { DENIED | DIRTY };
            (0..SLOTS_PER_CHUNK_MAX).for_each(|index| self.slot(self.id(first, index)).set_mark(marks));
        }
        !matches!(closed, Closed::Not { .. })
    }
}
