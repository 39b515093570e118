//! A sweep while all threads of the program stand still: for small heaps, and where the system tracks no writes.

use super::tools::{Swept, Tools, roots};
use crate::process::{Host, ProcessHeap};
use crate::scanning::{Failure, Presence, StoppedWorld, mark_from_roots};
use hk_scan::{Filter, Marker, Marks, RetainedBlocks};

/// How long a sweep waits for other threads to stop.
pub(super) const PATIENCE_MS: u32 = 1000;

impl<H: Host> ProcessHeap<H> {
    pub(super) fn sweep_stopped(&'static self, tools: &mut Tools) -> Result<Swept, Failure> {
        let begin_ns = hk_os::monotonic_ns();
        let world = StoppedWorld::stop(self, PATIENCE_MS).map_err(Failure::Stop)?;
        let candidates = tools.begin(self)?;
        let own = tools.own_places(self);
        let (reservation, reserved_bytes) = self.heap.reservation();
        if !tools.holes.look(reservation, reserved_bytes) {
            return Err(Failure::NoList);
        }
        let Tools { others, stack, window, holes, slices, words, .. } = tools;
        let others = &others.slice()[..*words];
        let limit = *words * u64::BITS as usize;
        let presence = Presence::new();
        let blocks =
            RetainedBlocks::new(&self.heap, limit, holes.list(), slices.slice()).with_pages(&presence);
        let mut marker = Marker::new(&blocks, Marks::new(others), stack.slice_mut(), Filter::best());
        let mut scanned_bytes = 0;
        // SAFETY: memory of stopped threads, or copies.
        let mark = |start: usize, bytes: usize| unsafe {
            scanned_bytes += bytes;
            marker.begin_from(start, bytes);
        };
        if !mark_from_roots(&world, &roots(&own), window, mark) {
            return Err(Failure::NoList);
        }
        // SAFETY: blocks of stopped threads; what can't be read of them is a hole.
        let mut mark = |start: usize, bytes: usize| unsafe {
            scanned_bytes += bytes;
            marker.begin_from_blocks(start, bytes);
        };
        self.guarding.guards.for_each_live(|block| mark(block.start, block.bytes));
        let (first, bytes) = self.heap.block_range();
        self.heap.for_each_swept(others, first, first + bytes, |piece| mark(piece.start, piece.bytes));
        // SAFETY: as above.
        unsafe { marker.finish() };
        drop(world);
        let stop_ns = hk_os::monotonic_ns() - begin_ns;
        let released = self.heap.release_retained(others);
        Ok(Swept { candidates, released, stop_ns, scanned_bytes })
    }
}
