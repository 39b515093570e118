//! From a refused pointer to a finding.

use crate::process::{Host, ProcessHeap};
use core::sync::atomic::Ordering;
use hk_format::{Call, Evidence, Family, FindingKind, Place};
use hk_heap::{At, Misuse};
use hk_recorder::{Access, BadCall, PlaceInfo, Registers, describe_place};

impl<H: Host> ProcessHeap<H> {
    #[cold]
    #[inline(never)]
    pub(crate) fn free_refused(&self, block: *mut u8, call: Call, misuse: Misuse, registers: &Registers) {
        if misuse.at != At::Foreign || !H::free_foreign(block) {
            self.report(call, block.addr(), misuse, registers);
        }
    }

    /// The program asked for room and gets it; what the bad block held is copied as far as it is known to be there.
    #[cold]
    #[inline(never)]
    pub(crate) fn reallocate_refused(
        &self,
        block: *mut u8,
        bytes: usize,
        family: Family,
        misuse: Misuse,
        registers: &Registers,
    ) -> *mut u8 {
        if misuse.at == At::Foreign
            && let Some(moved) = H::reallocate_foreign(block, bytes)
        {
            return moved;
        }
        self.report(Call::Realloc, block.addr(), misuse, registers);
        let moved = self.allocate(bytes, family);
        let known = match misuse.at {
            At::FreeBlock | At::InsideLiveBlock | At::InsideFreeBlock => {
                misuse.block_start + misuse.block_bytes - block.addr()
            }
            _ => 0,
        };
        if !moved.is_null() && moved.addr() != misuse.block_start {
            // SAFETY: `known` bytes from `block` on lie in a block of a span in use, whose memory is never
            // taken away; `moved` is another block, of at least `bytes`.
            unsafe { core::ptr::copy(block, moved, known.min(bytes)) };
        }
        moved
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn usable_bytes_refused(
        &self,
        block: *mut u8,
        misuse: Misuse,
        registers: &Registers,
    ) -> usize {
        if misuse.at == At::Foreign
            && let Some(bytes) = H::foreign_usable_bytes(block)
        {
            return bytes;
        }
        self.report(Call::UsableSize, block.addr(), misuse, registers);
        0
    }

    pub(crate) fn late_finding(block_start: usize, block_bytes: usize) {
        let _errno = hk_os::Errno::keep();
        let misuse = Misuse { at: At::FreeBlock, block_start, block_bytes };
        H::process().report(Call::SeenLater, block_start, misuse, &Registers::capture());
    }

    fn report(&self, call: Call, address: usize, misuse: Misuse, registers: &Registers) {
        self.heap.notice_fork();
        let place = match misuse.at {
            At::Foreign if hk_os::may(hk_os::Optional::OpenFile) => Some(describe_place(address as u64)),
            _ => None,
        };
        let abort = self.abort_on_finding.load(Ordering::Relaxed);
        let bad = bad_call(call, address, misuse, place.as_ref(), abort);
        self.tell(&bad, registers);
        if abort {
            self.stop.abort();
        }
    }
}

fn bad_call<'a>(
    call: Call,
    address: usize,
    misuse: Misuse,
    place: Option<&'a PlaceInfo>,
    aborted: bool,
) -> BadCall<'a> {
    let (kind, at) = match misuse.at {
        At::FreeBlock if call == Call::UsableSize => (FindingKind::UseAfterFree, Place::FreeBlock),
        At::RetiredBlock if call == Call::UsableSize => (FindingKind::UseAfterFree, Place::RetiredBlock),
        At::FreeBlock => (FindingKind::DoubleFree, Place::FreeBlock),
        At::RetiredBlock => (FindingKind::DoubleFree, Place::RetiredBlock),
        At::InsideLiveBlock => (FindingKind::NotBlockStart, Place::InsideLiveBlock),
        At::InsideFreeBlock => (FindingKind::NotBlockStart, Place::InsideFreeBlock),
        At::NoBlock => (FindingKind::NotOfHeap, Place::NoBlock),
        At::OwnTables => (FindingKind::NotOfHeap, Place::OwnTables),
        At::Foreign => (FindingKind::NotOfHeap, place.map_or(Place::Unmapped, |info| info.place)),
    };
    BadCall {
        kind,
        call,
        place: at,
        address: address as u64,
        block_start: misuse.block_start as u64,
        block_bytes: misuse.block_bytes as u64,
        place_start: place.map_or(0, |info| info.start),
        place_end: place.map_or(0, |info| info.end),
        place_name: place.map_or(b"", |info| info.name()),
        aborted,
        time_ns: 0,
        evidence: Evidence::Call,
        access: Access::default(),
        life: None,
        leak: None,
    }
}
