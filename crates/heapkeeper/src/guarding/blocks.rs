//! The malloc family for guarded blocks.

use super::population::site_of;
use crate::process::{Host, ProcessHeap};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use hk_format::{Call, Family};
use hk_guard::{Freed, Life, Refused, Request};
use hk_heap::sampling::Counted;
use hk_heap::{REQUEST_BYTES_MAX, ThreadHeap};
use hk_recorder::{Registers, StackId};

/// So many blocks are guarded between two looks whether traps still come to us; of a sample fewer, as they are further apart.
const BLOCKS_PER_CHECK: u64 = 1024;

/// All blocks are so aligned.
const ALIGN_MIN: usize = 16;

/// What whoever frees a block says of it: Rust's dealloc tells the layout again, C++'s operator delete may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenLayout {
    /// Bytes; None: not told.
    pub bytes: Option<usize>,
    /// Alignment; None: not told.
    pub align: Option<usize>,
}

impl GivenLayout {
    /// The caller told nothing, as C does.
    pub const NONE: GivenLayout = GivenLayout { bytes: None, align: None };

    /// The alignment is told, and maybe the size. malloc's alignment is no matter of its own: all blocks have that.
    #[inline(always)]
    pub const fn new(bytes: Option<usize>, align: usize) -> GivenLayout {
        GivenLayout { bytes, align: Some(if align <= ALIGN_MIN { 1 } else { align }) }
    }

    fn fits(&self, life: &Life) -> bool {
        self.bytes.is_none_or(|bytes| bytes == life.requested_bytes)
            && self.align.is_none_or(|align| align == life.align_bytes)
    }
}

/// The functions that a call of free belongs to.
fn family_of(call: Call) -> Family {
    match call {
        Call::Delete => Family::New,
        Call::DeleteArray => Family::NewArray,
        Call::Dealloc => Family::Rust,
        _ => Family::Malloc,
    }
}

impl<H: Host> ProcessHeap<H> {
    /// malloc of a small size whose bin is used up or parked. The heap is busy.
    #[cold]
    #[inline(never)]
    pub(crate) fn allocate_counted(&self, bytes: usize, class: usize, family: Family) -> *mut u8 {
        let block = self.allocate_watched(bytes, class, family);
        self.poll();
        block
    }

    #[inline]
    fn allocate_watched(&self, bytes: usize, class: usize, family: Family) -> *mut u8 {
        let (heap, guarding) = (self.current(), &self.guarding);
        let every = guarding.every();
        if guarding.sites.are_watched() {
            let due = heap.count_malloc(every) && self.is_time(heap, every);
            if let Some(block) = self.guard_if(due, bytes, 1, family, false) {
                self.heap.end_sample(heap);
                return block;
            }
            return self.checked(self.heap.allocate_singly(heap, class), bytes);
        }
        match self.heap.allocate_counted(heap, class, every) {
            Counted::Block(block) => self.checked(block, bytes),
            Counted::Sample => match self.guard_if(self.is_time(heap, every), bytes, 1, family, false) {
                Some(block) => {
                    self.heap.end_sample(heap);
                    block
                }
                None => self.checked(self.heap.allocate_unsampled(heap, class), bytes),
            },
        }
    }

    /// Any other malloc; None if it is not to be guarded.
    #[cold]
    #[inline(never)]
    pub(crate) fn allocate_guarded(
        &self,
        bytes: usize,
        align: usize,
        family: Family,
        zeroed: bool,
    ) -> Option<*mut u8> {
        let heap = self.current();
        if bytes > REQUEST_BYTES_MAX || !self.guarding.is_on() {
            return None;
        }
        let every = self.guarding.every();
        let due = if self.can_count(heap) {
            heap.count_malloc(every) && self.is_time(heap, every)
        } else {
            every == 1
        };
        self.guard_if(due, bytes, align, family, zeroed)
    }

    /// Whether a malloc that is due is to be guarded now.
    fn is_time(&self, heap: &ThreadHeap, every: u32) -> bool {
        every == 1 || heap.take_sample(every, hk_os::monotonic_ns())
    }

    /// A signal handler must not count in the heap that it interrupted.
    fn can_count(&self, heap: &ThreadHeap) -> bool {
        !heap.is_busy() && !heap.is_sentinel()
    }

    fn guard_if(
        &self,
        due: bool,
        bytes: usize,
        align: usize,
        family: Family,
        zeroed: bool,
    ) -> Option<*mut u8> {
        let guarding = &self.guarding;
        if !due && !guarding.sites.are_watched() {
            return None;
        }
        let stack = guarding.capture(&Registers::capture(), H::INNERMOST);
        if !due && !guarding.sites.want(&guarding.stacks, stack) {
            return None;
        }
        let allocated = guarding.event(stack);
        let request =
            Request { bytes, align, side: guarding.side(), zeroed, family: family as u8, allocated };
        self.guard(&request, stack)
    }

    fn guard(&self, request: &Request, stack: StackId) -> Option<*mut u8> {
        let guarding = &self.guarding;
        match guarding.guards.allocate(request) {
            Ok(block) => {
                self.heap.figures().add_live(request.bytes as i64);
                guarding.population.note_allocated(site_of(&guarding.stacks, stack));
                let count = guarding.guarded.fetch_add(1, Ordering::Relaxed) + 1;
                self.recording.set_guarded_blocks(count);
                self.note_thinning();
                if self.is_check_due(count) {
                    self.check_trap();
                }
                Some(block.as_ptr())
            }
            Err(refused) => {
                if guarding.is_all() || refused == Refused::Budget {
                    self.note_refused(refused);
                }
                None
            }
        }
    }

    /// Whether to look if traps still come to us: now and then; where nobody sees handlers, with a program's first blocks too.
    fn is_check_due(&self, guarded: u64) -> bool {
        let between = if self.guarding.is_all() { BLOCKS_PER_CHECK } else { BLOCKS_PER_CHECK / 64 };
        guarded.is_multiple_of(between) || !H::SEES_HANDLERS && guarded < BLOCKS_PER_CHECK / 4
    }

    /// Whether a pointer is of a guarded block, or was, or points beside one.
    #[inline]
    pub(crate) fn is_guarded(&self, block: *mut u8) -> bool {
        self.guarding.guards.contains(block.addr())
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn free_guarded(&self, block: *mut u8, call: Call, layout: GivenLayout) {
        let _errno = hk_os::Errno::keep();
        let guarding = &self.guarding;
        let registers = Registers::capture();
        let stack = guarding.capture(&registers, H::INNERMOST);
        let event = guarding.event(stack);
        match guarding.guards.free(block.addr(), event) {
            Freed::Done(life, damage) => {
                self.note_unclosed();
                guarding.guards.close_if_full(|life, damage| self.report_written(&life, damage, &registers));
                self.heap.figures().add_live(-(life.requested_bytes as i64));
                let allocated = site_of(&guarding.stacks, StackId::from_number(life.allocated.stack));
                guarding.population.note_freed(allocated, site_of(&guarding.stacks, stack), stack);
                if let Some(damage) = damage {
                    self.report_damage(call, &life, damage, &registers);
                }
                if life.family != family_of(call) as u8 {
                    self.report_mismatch(call, &life, &registers);
                } else if !layout.fits(&life) {
                    self.report_layout(call, &life, &registers);
                }
            }
            Freed::Twice(life) => self.report_freed_block(call, block.addr(), &life, &registers),
            Freed::NotStart(life) => self.report_not_start(call, block.addr(), &life, &registers),
            Freed::NoBlock => self.report_no_block(call, block.addr(), &registers),
        }
    }

    /// realloc of a guarded block: always to another, so that the old one's pages are closed.
    #[cold]
    #[inline(never)]
    pub(crate) fn reallocate_guarded(
        &self,
        block: *mut u8,
        bytes: usize,
        family: Family,
        layout: GivenLayout,
    ) -> *mut u8 {
        let guards = &self.guarding.guards;
        let Some(life) = guards.live_at(block.addr()) else {
            let registers = Registers::capture();
            match guards.life_at(block.addr()) {
                Some(life) if life.start == block.addr() => {
                    self.report_freed_block(Call::Realloc, block.addr(), &life, &registers);
                }
                Some(life) => self.report_not_start(Call::Realloc, block.addr(), &life, &registers),
                None => self.report_no_block(Call::Realloc, block.addr(), &registers),
            }
            return self.allocate(bytes, family);
        };
        let moved = self.allocate(bytes, family);
        if moved.is_null() {
            return null_mut();
        }
        // SAFETY: the block is live, and of so many bytes; the new one is another, of at least `bytes`.
        unsafe { core::ptr::copy_nonoverlapping(block, moved, life.requested_bytes.min(bytes)) };
        let call = if family == Family::Rust { Call::Dealloc } else { Call::Realloc };
        self.free_guarded(block, call, layout);
        moved
    }

    /// realloc of an ordinary block that moves: an allocation like any other, which may be one to be guarded. None if it is not.
    #[cold]
    #[inline(never)]
    pub(crate) fn reallocate_to_guarded(
        &self,
        block: *mut u8,
        bytes: usize,
        family: Family,
    ) -> Option<*mut u8> {
        // What is no live block is reported by whoever comes next.
        let present = self.heap.usable_bytes(block).ok()?;
        let moved = self.allocate_guarded(bytes, 1, family, false)?;
        // SAFETY: a live block of so many bytes, and a new one.
        unsafe { core::ptr::copy_nonoverlapping(block, moved, present.min(bytes)) };
        self.free(block, Call::Realloc);
        Some(moved)
    }

    /// malloc_usable_size of a guarded block: exactly what was asked for, as programs that use it may use it all.
    #[cold]
    #[inline(never)]
    pub(crate) fn guarded_usable_bytes(&self, block: *mut u8) -> usize {
        let guards = &self.guarding.guards;
        if let Some(life) = guards.live_at(block.addr()) {
            return life.requested_bytes;
        }
        let registers = Registers::capture();
        match guards.life_at(block.addr()) {
            Some(life) if life.start == block.addr() => {
                self.report_freed_block(Call::UsableSize, block.addr(), &life, &registers);
            }
            Some(life) => self.report_not_start(Call::UsableSize, block.addr(), &life, &registers),
            None => self.report_no_block(Call::UsableSize, block.addr(), &registers),
        }
        0
    }
}
