//! Freed blocks whose pages are closed some at a time: a fourth of the work, for a window in which a read of freed memory goes unseen.
//!
//! Pages of neighbours are closed by protection, with what they hold, by one call; they are opened again likewise, and no page is ever
//! fetched twice. For that their memory is not given back, so that fewer freed blocks rest; and blocks are not zero when they are handed out.
//! Each such run is a mapping of its own: with a batch of 64, and 16,384 blocks that rest, there are some 500.
//!
//! As long as a block waits its bytes are a canary, so that writes are found when its pages are closed; a second free is found at once. Only
//! blocks of a page wait; and never more than the batch.

use crate::canary::{self, Damage};
use crate::guards::{Guards, spent_on};
use crate::layout::{Data, Kind, PAGE_BYTES};
use crate::pool::Area;
use crate::slot::{DENIED, DIRTY, Life, OPENED, Slot, SlotId, State};
use crate::slot_stack::SlotStack;
use core::sync::atomic::{AtomicUsize, Ordering};
use hk_os::GuardOs;

/// So many blocks may wait, at most.
pub const BATCH_MAX: usize = 64;
/// Neighbours that are worth a mapping of their own.
const RUN_MIN: usize = 8;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Blocks that may wait; 0: none.
    size: AtomicUsize,
    waiting: SlotStack,
    count: AtomicUsize,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Batch { size: AtomicUsize::new(0), waiting: SlotStack::new(), count: AtomicUsize::new(0) }
    }
}

impl<O: GuardOs> Guards<O> {
    /// Whether freed blocks wait, so that new ones are not zero.
    pub fn is_batched(&self) -> bool {
        self.batch.size.load(Ordering::Relaxed) > 0
    }

    /// So many freed blocks may wait for their guards, at most [`BATCH_MAX`]; 0: none, which is the rule.
    pub fn set_batch(&self, blocks: usize) {
        self.batch.size.store(blocks.min(BATCH_MAX), Ordering::Relaxed);
    }

    /// Whether a freed block is to wait; then it does.
    pub(crate) fn waits(&self, id: SlotId, slot: &Slot, life: &Life) -> bool {
        let is_page = life.pages_end - life.pages_start == PAGE_BYTES;
        let is_plain = !slot.has_mark(OPENED);
        if self.batch.size.load(Ordering::Relaxed) == 0 || !is_page || !is_plain {
            return false;
        }
        // Its pages, of which the rest is a canary already.
        let place = self.place_at(life.start - self.base_address());
        // SAFETY: the block's page is open, and nobody's any more.
        unsafe { canary::fill(place.as_ptr(), life.requested_bytes) };
        self.batch.waiting.push(id, slot);
        self.batch.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Closes the pages of those that wait, if they are as many as may. `found` is told of blocks that were written to meanwhile.
    #[inline]
    pub fn close_if_full(&self, found: impl FnMut(Life, Damage)) {
        let size = self.batch.size.load(Ordering::Relaxed);
        if size > 0 && self.batch.count.load(Ordering::Relaxed) >= size {
            self.close_waiting(found);
        }
    }

    /// Closes the pages of all that wait.
    pub fn close_waiting(&self, mut found: impl FnMut(Life, Damage)) {
        let mut next = self.batch.waiting.take_all();
        while next != 0 {
            let mut ids = [0; BATCH_MAX];
            let mut count = 0;
            while next != 0 && count < BATCH_MAX {
                ids[count] = next;
                count += 1;
                next = Area::slot(self, SlotId(next)).next.load(Ordering::Relaxed);
            }
            self.batch.count.fetch_sub(count, Ordering::Relaxed);
            let ids = &mut ids[..count];
            ids.sort_unstable();
            ids.iter().for_each(|&id| self.look_at(SlotId(id), &mut found));
            self.close_runs(ids);
            ids.iter().for_each(|&id| self.settle(SlotId(id)));
        }
    }

    fn look_at(&self, id: SlotId, found: &mut impl FnMut(Life, Damage)) {
        let life = self.life(Area::slot(self, id));
        let place = self.place_at(life.pages_start - self.base_address());
        // SAFETY: the page is open until it is closed below.
        if let Some(damage) = unsafe { canary::check(place.as_ptr(), PAGE_BYTES) } {
            found(life, damage);
        }
    }

    /// Neighbours are closed at once, with the guards between them. Few are not worth a mapping.
    fn close_runs(&self, ids: &[u32]) {
        for run in ids.chunk_by(|before, id| before + 1 == *id) {
            let ends = (self.data_of(SlotId(run[0])), self.data_of(SlotId(run[run.len() - 1])));
            let (Some(first), Some(last)) = ends else { continue };
            let range = Data { start: first.start, end: last.end };
            let is_together = last.end.wrapping_sub(first.start) == (2 * run.len() - 1) * PAGE_BYTES;
            if is_together && run.len() >= RUN_MIN && self.deny(range) {
                // They hold what they held.
                run.iter().for_each(|&id| Area::slot(self, SlotId(id)).set_mark(DENIED | DIRTY));
            } else {
                for &id in run {
                    let slot = SlotId(id);
                    self.data_of(slot)
                        .into_iter()
                        .for_each(|data| self.close_slot(Area::slot(self, slot), data));
                }
            }
        }
    }

    fn settle(&self, id: SlotId) {
        let slot = Area::slot(self, id);
        slot.set_state(State::Freed);
        self.discharge(spent_on(&self.life(slot)));
        // Only slots of the first size have a page.
        self.pool.give_back(self, id, Kind::Slots(0));
    }
}
