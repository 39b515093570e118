//! The live blocks: which one an address lies in, and each in turn. For scans, while nothing changes.

use crate::guards::Guards;
use crate::layout::{Kind, SLOTS_PER_CHUNK_MAX};
use crate::pool::Area;
use crate::slot::{SlotId, State};
use core::sync::atomic::Ordering;
use hk_os::GuardOs;

/// A guarded block that is live, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBlock {
    /// Its first byte.
    pub start: usize,
    /// What was asked for.
    pub bytes: usize,
    /// That of its slot, from 0.
    pub number: usize,
}

impl<O: GuardOs> Guards<O> {
    /// All numbers of blocks are below this.
    pub fn block_number_limit(&self) -> usize {
        if self.is_started() { self.layout().chunk_count() * SLOTS_PER_CHUNK_MAX } else { 0 }
    }

    /// The live block in which an address lies: its start, inside, or right behind its end, where no other block can begin.
    pub fn live_block_at(&self, address: usize) -> Option<LiveBlock> {
        let (id, _) = self.slot_at(address)?;
        let block = self.live_block(id)?;
        (block.start..=block.start + block.bytes).contains(&address).then_some(block)
    }

    /// The block in which an address lies likewise, and that was freed.
    pub fn freed_block_at(&self, address: usize) -> Option<LiveBlock> {
        let (id, _) = self.slot_at(address)?;
        let block = self.freed_block(id)?;
        (block.start..=block.start + block.bytes).contains(&address).then_some(block)
    }

    fn live_block(&self, id: SlotId) -> Option<LiveBlock> {
        (Area::slot(self, id).state() == State::Live).then(|| self.block(id))
    }

    fn freed_block(&self, id: SlotId) -> Option<LiveBlock> {
        matches!(Area::slot(self, id).state(), State::Closing | State::Freed).then(|| self.block(id))
    }

    fn block(&self, id: SlotId) -> LiveBlock {
        let slot = Area::slot(self, id);
        let start = self.base_address() + slot.start.load(Ordering::Relaxed);
        LiveBlock { start, bytes: slot.bytes.load(Ordering::Relaxed), number: id.0 as usize - 1 }
    }

    /// Calls `found` with each live block, in the order of addresses.
    pub fn for_each_live(&self, mut found: impl FnMut(LiveBlock)) {
        self.for_each_slot(|id| self.live_block(id).into_iter().for_each(&mut found));
    }

    /// The same with blocks that were freed, and whose slots have no other since.
    pub fn for_each_freed(&self, mut found: impl FnMut(LiveBlock)) {
        self.for_each_slot(|id| self.freed_block(id).into_iter().for_each(&mut found));
    }

    fn for_each_slot(&self, mut found: impl FnMut(SlotId)) {
        for chunk in 0..self.chunks_in_use() {
            (0..self.slots_of(chunk)).for_each(|index| found(self.id(chunk, index)));
        }
    }

    /// The same in the opposite order.
    pub fn for_each_live_backwards(&self, mut found: impl FnMut(LiveBlock)) {
        for chunk in (0..self.chunks_in_use()).rev() {
            for index in (0..self.slots_of(chunk)).rev() {
                self.live_block(self.id(chunk, index)).into_iter().for_each(&mut found);
            }
        }
    }

    /// Chunks are taken into use one behind the other.
    fn chunks_in_use(&self) -> usize {
        if !self.is_started() {
            return 0;
        }
        (0..self.layout().chunk_count())
            .find(|&chunk| self.kind_of(chunk) == Kind::Unused)
            .unwrap_or(self.layout().chunk_count())
    }

    fn slots_of(&self, chunk: usize) -> usize {
        match self.kind_of(chunk) {
            Kind::Slots(size) => crate::layout::slots_per_chunk(size),
            Kind::Run(_) => 1,
            Kind::Unused | Kind::Inside(_) => 0,
        }
    }
}
