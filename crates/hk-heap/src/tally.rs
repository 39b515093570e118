//! How many blocks of a span are in use, and when somebody has to look.
//!
//! Each free by the owner takes one off `countdown`, and looks further only when nothing is left: so one
//! instruction serves for all that a span's owner wants to be told of: that the span has enough free blocks to be worth a visit, that it is
//! empty, and that the live figures are behind. A word that gets its first or loses its last free block is no event.

use crate::signal_safe;
use crate::word::BLOCKS_PER_WORD;
use core::sync::atomic::{AtomicU32, Ordering};

/// The owner's count of a span. Only the owner and its signal handlers touch it, so all is Relaxed.
#[derive(Debug)]
#[repr(C)]
pub struct Tally {
    /// Blocks in use less `floor`. First: see [`crate::span::SpanHeader::note_free`].
    countdown: AtomicU32,
    /// The owner is told when so few are in use.
    floor: AtomicU32,
    /// Blocks in use when they were last added to the live figures.
    counted: AtomicU32,
    /// Blocks that were ever exposed: the first so many. The pages of the others were not touched by this span.
    touched: AtomicU32,
}

impl Tally {
    /// Nothing is in use, nothing was touched.
    pub fn reset(&self) {
        for field in [&self.countdown, &self.floor, &self.counted, &self.touched] {
            field.store(0, Ordering::Relaxed);
        }
    }

    /// So many blocks were exposed.
    #[inline]
    pub fn note_exposed(&self, count: u32) {
        signal_safe::add(&self.countdown, count);
    }

    /// So many remote frees were filed.
    pub fn note_filed(&self, count: u32) {
        signal_safe::add(&self.countdown, count.wrapping_neg());
    }

    /// Blocks that are live, exposed, or freed by others and not yet claimed.
    #[inline]
    pub fn used(&self) -> u32 {
        // While remote frees are filed the countdown may go below zero for a moment.
        self.floor.load(Ordering::Relaxed).wrapping_add(self.countdown.load(Ordering::Relaxed))
    }

    /// The owner is to be told when no more than `floor` blocks are in use.
    pub fn set_floor(&self, floor: u32) {
        let before = self.floor.load(Ordering::Relaxed);
        // A handler that frees in between is told too early or not at all; the next event or visit makes up for it.
        self.floor.store(floor, Ordering::Relaxed);
        signal_safe::add(&self.countdown, before.wrapping_sub(floor));
    }

    /// How many more blocks are in use than when this was asked last.
    #[inline]
    pub fn count(&self) -> i32 {
        let used = self.used();
        let before = self.counted.load(Ordering::Relaxed);
        self.counted.store(used, Ordering::Relaxed);
        used.wrapping_sub(before).cast_signed()
    }

    /// See [`Tally::touched`]'s field.
    pub fn touched(&self) -> u32 {
        self.touched.load(Ordering::Relaxed)
    }

    /// Those of a word's blocks.
    #[inline]
    pub fn touched_of_word(&self, index: u32) -> u64 {
        let here = self.touched().saturating_sub(index * BLOCKS_PER_WORD as u32);
        if here < BLOCKS_PER_WORD as u32 { (1 << here) - 1 } else { !0 }
    }

    /// The first `count` blocks are exposed now, or were.
    pub fn set_touched(&self, count: u32) {
        self.touched.store(count, Ordering::Relaxed);
    }

    /// Counts anew, after the owner was lost.
    pub fn recount(&self, used: u32, touched: u32) {
        self.floor.store(0, Ordering::Relaxed);
        self.countdown.store(used, Ordering::Relaxed);
        self.touched.store(touched, Ordering::Relaxed);
    }

    /// Whether an event can still come: the floor lies below what is in use.
    pub fn is_armed(&self) -> bool {
        self.countdown.load(Ordering::Relaxed).cast_signed() > 0
    }
}
