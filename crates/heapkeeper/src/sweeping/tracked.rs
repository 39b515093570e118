//! A sweep while the program runs: the system tracks to which pages it writes meanwhile, and at a short stop in the end those are looked at again,
//! with registers, stacks and what was not tracked.
//!
//! Why that is sound: which blocks are swept is noted first. If one of them has a pointer to it at the stop, that stands in a register or in memory.
//! Memory that was written to after the writes were last forgotten is looked at during the stop; other memory was looked at after that, and held the
//! pointer then. What is free while it is passed by is not looked at: but to put a pointer there later is to write.

use super::stopped::PATIENCE_MS;
use super::tools::{Swept, Tools, WATCHED_MAX, roots};
use crate::process::{Host, ProcessHeap};
use crate::scanning::{Failure, PAGE_BYTES, Piece, Presence, Roots, Scratch, StoppedWorld, look_at};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use hk_heap::SweptPiece;
use hk_os::{Linux, WriteTracker};
use hk_scan::{Filter, Marker, Marks, RetainedBlocks};

/// Smaller mappings are looked at during the stop.
const WATCHED_BYTES_MIN: usize = 256 << 10;
/// Blocks that have no pages of their own are read in place: nobody can take them away. Of larger ones a program may.
const IN_PLACE_BYTES_MAX: usize = PAGE_BYTES - 1;
/// Before the stop, pages that were written to are looked at again so often,
const ROUNDS: usize = 4;
/// or until they are so few.
const PAGES_FEW: usize = 256;

/// The descriptors of a tracker that is at work, for a fork child; -1: there is none. A child has copies, which would drive its parent's memory.
pub(super) struct OpenTracker([AtomicI32; 2]);

impl OpenTracker {
    pub(super) const fn new() -> Self {
        OpenTracker([const { AtomicI32::new(-1) }; 2])
    }

    fn note(&self, descriptors: [i32; 2]) {
        // Relaxed: read by a fork child, which is a copy.
        self.0.iter().zip(descriptors).for_each(|(place, file)| place.store(file, Ordering::Relaxed));
    }

    /// In a fork child.
    pub(super) fn close_inherited(&self) {
        let files = [0, 1].map(|nth| self.0[nth].swap(-1, Ordering::Relaxed));
        if files[0] >= 0 {
            hk_os::close_inherited(files);
        }
    }
}

/// Ranges whose writes are tracked. They end to be when this is dropped.
struct Watched<'a> {
    tracker: &'a WriteTracker,
    open: &'a OpenTracker,
    ranges: &'a mut Scratch<[usize; 2]>,
    count: usize,
    /// For a test that has to fail: no write is ever told.
    blind: bool,
}

impl<'a> Watched<'a> {
    fn new(
        tracker: &'a WriteTracker,
        open: &'a OpenTracker,
        ranges: &'a mut Scratch<[usize; 2]>,
        blind: bool,
    ) -> Self {
        open.note(tracker.descriptors());
        Watched { tracker, open, ranges, count: 0, blind }
    }

    /// False if that is not possible, or there are too many.
    fn add(&mut self, start: usize, bytes: usize) -> bool {
        if self.count == WATCHED_MAX || !self.tracker.watch(start, bytes) {
            return false;
        }
        self.ranges.slice_mut()[self.count] = [start, bytes];
        self.count += 1;
        self.tracker.forget_writes(start, bytes)
    }

    fn list(&self) -> &[[usize; 2]] {
        &self.ranges.slice()[..self.count]
    }

    /// Whether all of a piece of memory is watched.
    fn has(&self, piece: &Piece) -> bool {
        self.list()
            .iter()
            .any(|&[start, bytes]| start <= piece.start && piece.start + piece.bytes <= start + bytes)
    }

    /// See [`WriteTracker::for_each_written`].
    fn for_each_written(
        &self,
        start: usize,
        bytes: usize,
        forget: bool,
        found: impl FnMut(usize, usize),
    ) -> bool {
        self.blind || self.tracker.for_each_written(start, bytes, forget, found)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        for &[start, bytes] in &self.ranges.slice()[..self.count] {
            self.tracker.unwatch(start, bytes);
        }
        self.open.note([-1, -1]);
    }
}

/// Looks through memory while the program runs.
struct Pass<'p, 'b, 'm> {
    marker: &'p mut Marker<'m, RetainedBlocks<'b, Linux>>,
    window: &'p mut Scratch<u64>,
    presence: &'p Presence,
    scanned_bytes: usize,
    /// The system still lets us read memory by copies.
    works: bool,
}

impl Pass<'_, '_, '_> {
    fn blocks(&mut self, piece: &SweptPiece) {
        self.scanned_bytes += piece.bytes;
        if piece.block_bytes > IN_PLACE_BYTES_MAX {
            return self.copies(piece.start, piece.bytes);
        }
        // SAFETY: in spans of small blocks, whose memory is never taken away.
        unsafe { self.marker.begin_from(piece.start, piece.bytes) };
    }

    /// Memory that the program may take away, or protect, at any time; only as far as it is there, lest it be there for having been read.
    fn copies(&mut self, start: usize, bytes: usize) {
        let Pass { marker, window, presence, .. } = self;
        let piece = Piece { start, bytes, copied_only: false, stays: false, thread: 0 };
        self.works &= look_at(window, presence, piece, |_, words| {
            // SAFETY: a copy.
            unsafe { marker.begin_from(words.as_ptr().expose_provenance(), size_of_val(words)) };
        });
    }
}

impl<H: Host> ProcessHeap<H> {
    pub(super) fn sweep_tracked(&'static self, tools: &mut Tools, blind: bool) -> Result<Swept, Failure> {
        let candidates = tools.begin(self)?;
        let own = tools.own_places(self);
        let roots = roots(&own);
        let tracker = WriteTracker::new().ok_or(Failure::NoTracking)?;
        let (reservation, reserved_bytes) = self.heap.reservation();
        let (first, bytes) = self.heap.block_range();
        let Tools { others, stack, window, holes, slices, watched, words } = tools;
        let others = &others.slice()[..*words];
        let limit = *words * u64::BITS as usize;
        let mut watched = Watched::new(&tracker, &self.sweeping.open_tracker, watched, blind);
        if !watched.add(first, bytes) || !holes.look(reservation, reserved_bytes) {
            return Err(Failure::NoTracking);
        }
        let is_listed = roots.for_each_piece(
            |_| (),
            |_, piece| {
                if piece.stays && piece.bytes >= WATCHED_BYTES_MIN {
                    watched.add(piece.start, piece.bytes);
                }
            },
        );
        let mut scanned_bytes = {
            let presence = Presence::new();
            let blocks =
                RetainedBlocks::new(&self.heap, limit, holes.list(), slices.slice()).with_pages(&presence);
            let mut marker = Marker::new(&blocks, Marks::new(others), stack.slice_mut(), Filter::best());
            let mut pass =
                Pass { marker: &mut marker, window, presence: &presence, scanned_bytes: 0, works: is_listed };
            self.heap.for_each_swept(others, first, first + bytes, |piece| pass.blocks(&piece));
            for &[start, bytes] in &watched.list()[1..] {
                pass.scanned_bytes += bytes;
                pass.copies(start, bytes);
            }
            self.look_again(&watched, others, &mut pass);
            let (scanned_bytes, works) = (pass.scanned_bytes, pass.works);
            // SAFETY: swept blocks, which the program has freed, less what of them can't be read.
            unsafe { marker.finish() };
            if !works {
                return Err(Failure::NoList);
            }
            scanned_bytes
        };
        let begin_ns = hk_os::monotonic_ns();
        let world = StoppedWorld::stop(self, PATIENCE_MS).map_err(Failure::Stop)?;
        if !holes.look(reservation, reserved_bytes) {
            return Err(Failure::NoList);
        }
        let presence = Presence::new();
        let blocks =
            RetainedBlocks::new(&self.heap, limit, holes.list(), slices.slice()).with_pages(&presence);
        let mut marker = Marker::new(&blocks, Marks::new(others), stack.slice_mut(), Filter::best());
        // SAFETY: memory of stopped threads, or copies.
        let mut mark = |start: usize, bytes: usize| unsafe { marker.begin_from(start, bytes) };
        if !mark_what_was_not_tracked(&world, &roots, &watched, window, &mut mark) {
            return Err(Failure::NoList);
        }
        // SAFETY: blocks of stopped threads; what can't be read of them is a hole.
        let mut mark = |start: usize, bytes: usize| unsafe {
            scanned_bytes += bytes;
            marker.begin_from_blocks(start, bytes);
        };
        self.guarding.guards.for_each_live(|block| mark(block.start, block.bytes));
        let is_told = watched.for_each_written(first, bytes, false, |start, end| {
            self.heap.for_each_swept(others, start, end, |piece| mark(piece.start, piece.bytes));
        });
        // Slices that came into use since.
        let (_, bytes_now) = self.heap.block_range();
        self.heap
            .for_each_swept(others, first + bytes, first + bytes_now, |piece| mark(piece.start, piece.bytes));
        // SAFETY: as above.
        unsafe { marker.finish() };
        drop(world);
        let stop_ns = hk_os::monotonic_ns() - begin_ns;
        if !is_told {
            return Err(Failure::NoTracking);
        }
        let released = self.heap.release_retained(others);
        Ok(Swept { candidates, released, stop_ns, scanned_bytes })
    }

    /// Looks at what was written to meanwhile, so that little is left for the stop.
    fn look_again(&self, watched: &Watched<'_>, others: &[AtomicU64], pass: &mut Pass<'_, '_, '_>) {
        let mut before = usize::MAX;
        for _ in 0..ROUNDS {
            let mut pages = 0;
            for (nth, &[start, bytes]) in watched.list().iter().enumerate() {
                pass.works &= watched.for_each_written(start, bytes, true, |start, end| {
                    pages += (end - start) / PAGE_BYTES;
                    match nth {
                        0 => self.heap.for_each_swept(others, start, end, |piece| pass.blocks(&piece)),
                        _ => pass.copies(start, end - start),
                    }
                });
            }
            if pages < PAGES_FEW || pages > before / 2 {
                return;
            }
            before = pages;
        }
    }
}

/// At the stop: registers and stacks, mappings that are not watched, and of the others what was written to.
fn mark_what_was_not_tracked<H: Host>(
    world: &StoppedWorld<H>,
    roots: &Roots<'_>,
    watched: &Watched<'_>,
    window: &mut Scratch<u64>,
    mark: &mut impl FnMut(usize, usize),
) -> bool {
    world.contexts().flat_map(|context| context.registers()).for_each(|(start, bytes)| mark(start, bytes));
    let presence = Presence::new();
    let mut works = true;
    let mut look = |piece: Piece, mark: &mut dyn FnMut(usize, usize)| {
        look_at(window, &presence, piece, |_, words| {
            mark(words.as_ptr().expose_provenance(), size_of_val(words))
        })
    };
    let is_listed = roots.for_each_piece(
        |each| world.contexts().for_each(|context| each(&context)),
        |_, piece| {
            works &= if piece.thread != 0 || !watched.has(&piece) {
                look(piece, mark)
            } else {
                let mut is_read = true;
                let is_told = watched.for_each_written(piece.start, piece.bytes, false, |start, end| {
                    is_read &= look(Piece { start, bytes: end - start, ..piece }, mark);
                });
                is_told && is_read
            };
        },
    );
    is_listed && works
}
