//! Where the blocks of a size class come from now.
//!
//! A class has a [`Bin`], which malloc reads, and a [`Cursor`], which it reads when the bin's word is used up: the two say all about
//! the present span that is needed to go on to its next word, so that no header is read then.

use crate::population::count;
use crate::size_class::{CLASSES, Geometry};
use crate::word::{BLOCKS_PER_WORD, Word};
use core::cell::Cell;
use core::ptr::{null, null_mut};

/// A word without free blocks: what bins look at before they have a span.
static NO_BLOCKS: Word = Word::empty();

/// See the module head.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Bin {
    /// The word that malloc takes from.
    word: Cell<*const Word>,
    /// Block 0 of that word.
    base: Cell<*mut u8>,
    block_bytes: Cell<usize>,
    /// Number of the word in its span.
    word_index: Cell<u32>,
    /// The span + 1; 0 for none.
    span: Cell<u32>,
}

/// See the module head.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cursor {
    /// The words behind the bin's present one that are exposed too.
    exposed: Cell<u64>,
    /// The span's words, and its block 0.
    words: Cell<*const Word>,
    start: Cell<*mut u8>,
    word_bytes: u32,
    /// With so many bits in `freed`, blocks that do not exist included, a word is worth being exposed again at once.
    stay_min: u8,
    /// The bin's span had its last visit for less than a share of free blocks.
    had_last_look: Cell<bool>,
    /// How many spans were made for the bin: none, one, or more.
    spans_made: Cell<u8>,
    /// The bin's word while the bin is parked, so that each malloc of the class is told of; else null. See [`crate::sampling`].
    parked: Cell<*const Word>,
}

impl Bin {
    pub(crate) const fn new(class: usize) -> Self {
        Bin {
            word: Cell::new(&raw const NO_BLOCKS),
            base: Cell::new(null_mut()),
            block_bytes: Cell::new(CLASSES[class].block_bytes as usize),
            word_index: Cell::new(0),
            span: Cell::new(0),
        }
    }

    /// A sentinel's, which nobody looks at. Without addresses, so that loading the library need not write them.
    pub(crate) const fn unused() -> Self {
        Bin {
            word: Cell::new(null()),
            base: Cell::new(null_mut()),
            block_bytes: Cell::new(0),
            word_index: Cell::new(0),
            span: Cell::new(0),
        }
    }

    /// The lowest available block of the bin's word. The heap is busy meanwhile.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<*mut u8> {
        let block = self.word().take()?;
        Some(self.base.get().wrapping_add(block as usize * self.block_bytes.get()))
    }

    #[inline(always)]
    fn word(&self) -> &Word {
        // SAFETY: points to NO_BLOCKS or to a word of the bin's span, never unmapped.
        unsafe { &*self.word.get() }
    }

    /// The bin's span.
    pub(crate) fn span(&self) -> Option<usize> {
        self.span.get().checked_sub(1).map(|span| span as usize)
    }

    /// Number of the word in its span.
    pub(crate) fn word_index(&self) -> u32 {
        self.word_index.get()
    }

    /// How many blocks malloc will take from it before it asks for more.
    pub(crate) fn available(&self) -> u32 {
        count(self.word().available())
    }
}

impl Cursor {
    pub(crate) const fn new(class: usize) -> Self {
        let Geometry { block_bytes, words, absent, expose_max, .. } = CLASSES[class];
        // Of several words only the last one has absent blocks: that one is looked at sooner than need be.
        let absent = if words == 1 { absent.count_ones() } else { 0 };
        Cursor {
            exposed: Cell::new(0),
            words: Cell::new(&raw const NO_BLOCKS),
            start: Cell::new(null_mut()),
            word_bytes: block_bytes * BLOCKS_PER_WORD as u32,
            stay_min: (absent + expose_max.div_ceil(2)) as u8,
            had_last_look: Cell::new(false),
            spans_made: Cell::new(0),
            parked: Cell::new(null()),
        }
    }

    /// See [`Bin::unused`].
    pub(crate) const fn unused() -> Self {
        Cursor {
            exposed: Cell::new(0),
            words: Cell::new(null()),
            start: Cell::new(null_mut()),
            word_bytes: 0,
            stay_min: 0,
            had_last_look: Cell::new(false),
            spans_made: Cell::new(0),
            parked: Cell::new(null()),
        }
    }

    /// Whether enough blocks of the bin's word came back: they are still in the cache, and the next word's are not.
    #[inline(always)]
    pub(crate) fn stays(&self, bin: &Bin) -> bool {
        count(bin.word().freed()) >= u32::from(self.stay_min)
    }

    /// The bin goes on to the first of the words that are exposed. False if there is none.
    #[inline(always)]
    pub(crate) fn step(&self, bin: &Bin) -> bool {
        let exposed = self.exposed.get();
        if exposed == 0 {
            return false;
        }
        let index = exposed.trailing_zeros();
        self.exposed.set(exposed & (exposed - 1));
        bin.base.set(self.start.get().wrapping_add(index as usize * self.word_bytes as usize));
        bin.word.set(self.words.get().wrapping_add(index as usize));
        bin.word_index.set(index);
        true
    }

    /// Takes the bin's word away from malloc until [`Cursor::unpark`]. Its blocks stay available.
    pub(crate) fn park(&self, bin: &Bin) {
        debug_assert!(self.parked.get().is_null());
        self.parked.set(bin.word.replace(&raw const NO_BLOCKS));
    }

    pub(crate) fn is_parked(&self) -> bool {
        !self.parked.get().is_null()
    }

    /// True if the bin was parked.
    #[inline(always)]
    pub(crate) fn unpark(&self, bin: &Bin) -> bool {
        let parked = self.parked.get();
        if parked.is_null() {
            return false;
        }
        bin.word.set(parked);
        self.parked.set(null());
        true
    }

    /// A span was made for the bin.
    pub(crate) fn note_made(&self) {
        self.spans_made.set(self.spans_made.get().saturating_add(1));
    }

    /// Whether one span was not enough.
    pub(crate) fn needs_many(&self) -> bool {
        self.spans_made.get() > 1
    }

    /// The bin goes on to a span, of which some words are exposed.
    pub(crate) fn enter(&self, bin: &Bin, span: usize, words: *const Word, start: *mut u8, exposed: u64) {
        self.words.set(words);
        self.start.set(start);
        self.exposed.set(exposed);
        bin.span.set(span as u32 + 1);
        self.step(bin);
    }

    /// True once per span, until [`Cursor::begin_span`].
    pub(crate) fn take_last_look(&self) -> bool {
        !self.had_last_look.replace(true)
    }

    /// The next span is a new one for the bin.
    pub(crate) fn begin_span(&self) {
        self.had_last_look.set(false);
    }

    /// The bin has no span any more.
    pub(crate) fn leave(&self, bin: &Bin) {
        self.exposed.set(0);
        self.parked.set(null());
        bin.word.set(&raw const NO_BLOCKS);
        bin.span.set(0);
    }
}
