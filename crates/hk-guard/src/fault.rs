//! What a bad address is about.

use crate::guards::Guards;
use crate::layout::{Data, PAGE_BYTES};
use crate::slot::{Life, OPENED, SlotId, State};
use hk_os::GuardOs;

/// What is wrong with an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The block was freed.
    AfterFree,
    /// It went behind the block's end.
    PastEnd,
    /// It went before the block's start.
    BeforeStart,
}

/// A bad access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The block that it is about.
    pub life: Life,
}

/// A block and how far off an address is.
struct Candidate {
    life: Life,
    kind: FaultKind,
    distance: usize,
}

impl<O: GuardOs> Guards<O> {
    /// Whose block an access at an address was meant for: the one whose slot it lies in, or, before that one's pages, the one before; of
    /// two the nearer. None if there is no block about.
    pub fn fault_at(&self, address: usize) -> Option<Fault> {
        let here = self.slot_at(address).map(|(id, _)| id);
        // An address before the first slot of a chunk is about that slot, if about any.
        let next = self.slot_at(address.checked_add(PAGE_BYTES)?).map(|(id, _)| id);
        let before = here.and_then(|id| self.neighbour(id)).filter(|_| self.is_before_data(here, address));
        let candidates = [here, next.filter(|_| next != here), before];
        let found = candidates.into_iter().flatten().filter_map(|id| self.candidate(id, address));
        let nearest =
            found.min_by_key(|candidate| (candidate.distance, candidate.kind == FaultKind::BeforeStart))?;
        Some(Fault { kind: nearest.kind, life: nearest.life })
    }

    fn is_before_data(&self, id: Option<SlotId>, address: usize) -> bool {
        let data = id.and_then(|id| self.data_of(id));
        data.is_some_and(|data| address < self.base_address() + data.end)
    }

    /// The slot before one in its chunk.
    fn neighbour(&self, id: SlotId) -> Option<SlotId> {
        (self.index_of(id) > 0).then(|| SlotId(id.0 - 1))
    }

    fn candidate(&self, id: SlotId, address: usize) -> Option<Candidate> {
        let slot = crate::pool::Area::slot(self, id);
        let state = slot.state();
        if state == State::Empty {
            return None;
        }
        let life = self.life(slot);
        let end = life.start + life.requested_bytes;
        let (side, distance) = if address >= end {
            (FaultKind::PastEnd, address - end)
        } else if address < life.start {
            (FaultKind::BeforeStart, life.start - address)
        } else {
            (FaultKind::AfterFree, 0)
        };
        let kind = match state {
            State::Live if side == FaultKind::AfterFree => return None,
            State::Live => side,
            _ => FaultKind::AfterFree,
        };
        Some(Candidate { life, kind, distance })
    }

    /// Opens the page at an address, so that a bad access can go on. It is closed again when its slot's block is freed, or the slot used
    /// again. False if it can't be opened.
    pub fn open_page(&self, address: usize) -> bool {
        if !self.contains(address) {
            return false;
        }
        let offset = (address - self.base_address()) / PAGE_BYTES * PAGE_BYTES;
        let range = Data { start: offset, end: offset + PAGE_BYTES };
        let slot = self.slot_at(address).map(|(id, _)| crate::pool::Area::slot(self, id));
        if let Some(slot) = slot {
            slot.set_mark(OPENED);
        }
        // By protection too, whatever the marks say: a run that was denied together has the guards between its slots with it.
        let opened = self.permit(range) && self.open(range);
        // Once more: a free in between has taken the mark, and closed the pages before they were opened here.
        if let Some(slot) = slot {
            slot.set_mark(OPENED);
        }
        opened
    }

    /// Opens the pages of a buffer from an address on, as far as they are of the same slot. True if any were.
    pub fn open_pages(&self, address: usize, end: usize) -> bool {
        let slot = self.slot_at(address).map(|(id, _)| id);
        let mut page = address;
        while page < end && self.slot_at(page).map(|(id, _)| id) == slot && self.open_page(page) {
            page = (page / PAGE_BYTES + 1) * PAGE_BYTES;
        }
        page > address
    }

    /// Closes what [`Guards::open_pages`] opened behind a live block, which was not needed.
    pub fn close_behind(&self, life: &Life, end: usize) {
        let Some((id, _)) = self.slot_at(life.start) else { return };
        let Some(data) = self.data_of(id) else { return };
        let base = self.base_address();
        let end = (end - base).next_multiple_of(PAGE_BYTES).min(data.end + PAGE_BYTES);
        if life.pages_end - base < end {
            let slot = crate::pool::Area::slot(self, id);
            self.close_slot(slot, Data { start: life.pages_end - base, end });
        }
    }

    /// How many bytes of a buffer are a block's own, if its start lies in the area: fewer than it has, where it goes beyond.
    pub fn buffer_at(&self, address: usize, bytes: usize) -> Option<(usize, Option<Fault>)> {
        if !self.contains(address) || bytes == 0 {
            return None;
        }
        let (id, _) = self.slot_at(address)?;
        let slot = crate::pool::Area::slot(self, id);
        let life = self.life(slot);
        let end = life.start + life.requested_bytes;
        if slot.state() != State::Live || address < life.start || address >= end {
            return Some((0, self.fault_at(address)));
        }
        let own = (end - address).min(bytes);
        let fault = (own < bytes).then_some(Fault { kind: FaultKind::PastEnd, life });
        Some((own, fault))
    }
}
