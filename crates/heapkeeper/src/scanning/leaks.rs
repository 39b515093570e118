//! Blocks that nothing leads to.

use super::holes::Holes;
use super::lost::{Lost, LostAt, LostBlock};
use super::memory::{Presence, Scratch, WINDOW_WORDS, look_at};
use super::roots::Roots;
use super::world::StoppedWorld;
use crate::process::{Host, ProcessHeap};
use core::sync::atomic::{AtomicU64, Ordering};
use hk_format::{Call, Evidence, FindingKind, Loss, NoteKind, Place};
use hk_os::Optional;
use hk_recorder::{Access, BadCall, LostBlocks, Registers, registers_above};
use hk_scan::{Blocks, Filter, HeapAndGuards, LeakKind, LeakSets, Marker, Marks, Pending, find_leaks};

/// How long a scan at the end waits for other threads.
const PATIENCE_MS: u32 = 2000;
/// Blocks that were reached and not read yet, before memory is gone through again for them.
pub(crate) const STACK_ENTRIES: usize = 1 << 16;

/// What no scan can do without.
pub(crate) const CALLS: [Optional; 6] = [
    Optional::Scan,
    Optional::OpenFile,
    Optional::SignalAction,
    // With these the threads are told apart, and go on.
    Optional::SignalMask,
    Optional::ProcessId,
    Optional::ThreadId,
];

/// Why no leaks were looked for.
pub(crate) enum Failure {
    Sandbox,
    Stop(hk_os::StopFailure),
    NoMemory,
    NoList,
    /// The system does not track writes.
    NoTracking,
}

/// What a scan works with.
struct Tools {
    /// Sets of blocks, one behind the other.
    sets: Scratch<AtomicU64>,
    words_per_set: usize,
    stack: Scratch<Pending>,
    window: Scratch<u64>,
    lost: Lost,
    holes: Holes,
}

/// See [`LeakSets`].
const SETS: usize = 4;
/// Other threads may make room for so many blocks more until they are stopped.
const SPARE_NUMBERS: usize = 1 << 20;

impl Tools {
    fn new(numbers: usize) -> Option<Tools> {
        let words_per_set = Marks::words_needed(numbers);
        Some(Tools {
            sets: Scratch::new(words_per_set * SETS)?,
            words_per_set,
            stack: Scratch::new(STACK_ENTRIES)?,
            window: Scratch::new(WINDOW_WORDS)?,
            lost: Lost::new()?,
            holes: Holes::new()?,
        })
    }

    fn places(&self) -> [(usize, usize); 5] {
        [self.sets.place(), self.stack.place(), self.window.place(), self.lost.place(), self.holes.place()]
    }
}

/// Four empty sets.
fn sets_in(words: &[AtomicU64]) -> LeakSets<'_> {
    let (left, right) = words.split_at(words.len() / 2);
    let (reached, pointed_at) = left.split_at(left.len() / 2);
    let (visited, begun) = right.split_at(right.len() / 2);
    let [reached, pointed_at, visited, begun] = [reached, pointed_at, visited, begun].map(Marks::new);
    LeakSets { reached, pointed_at, visited, begun }
}

impl<H: Host> ProcessHeap<H> {
    /// At the end: finds the blocks that nothing leads to, and tells of them, if that is wanted.
    pub fn look_for_leaks_at_exit(&'static self) {
        self.heap.notice_fork();
        if !self.scanning.looks_at_exit() || !self.heap.is_started() || !self.heap.is_own() {
            return;
        }
        self.scanning.has_ended.store(true, Ordering::Relaxed);
        if !CALLS.into_iter().all(hk_os::may) {
            return self.note_failure(&Failure::Sandbox);
        }
        let captured = Registers::capture();
        // What ran since exit was called has left copies of pointers that nobody uses; and what its callers have in registers it has put away.
        // SAFETY: a NUL-terminated name.
        let exit = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"exit".as_ptr()) }.addr();
        match self.find_lost(&registers_above(&captured, exit).unwrap_or(captured)) {
            Ok(mut lost) => lost.sorted().iter().for_each(|at| self.tell_leak(at, Call::Exit)),
            Err(failure) => self.note_failure(&failure),
        }
    }

    /// The program ends by `_exit`: tells that no leaks were looked for, if that was wanted. Of the program that the command was given alone: forked
    /// children end so as a rule, and programs that others start (a shell) are not what was asked about.
    pub fn note_end_without_scan(&self) {
        self.heap.notice_fork();
        let is_wanted = self.scanning.looks_at_exit() && !self.scanning.has_ended.load(Ordering::Relaxed);
        // In a vfork child both are its parent's.
        let is_own = self.heap.is_started() && self.heap.is_own() && self.is_recorded();
        if is_wanted && is_own && self.recording.is_first_process() {
            self.recording.note(NoteKind::EndedAtOnce, 0, b"");
        }
    }

    /// `registers` are those that the calling thread is to go on with.
    fn find_lost(&'static self, registers: &Registers) -> Result<Lost, Failure> {
        let guards = &self.guarding.guards;
        let present = HeapAndGuards::new(&self.heap, guards).number_limit();
        let mut tools = Tools::new(present + SPARE_NUMBERS).ok_or(Failure::NoMemory)?;
        let world = StoppedWorld::stop(self, PATIENCE_MS).map_err(Failure::Stop)?;
        let own = self.own_places(&tools);
        let (start, bytes) = self.heap.reservation();
        if !tools.holes.look(start, bytes) {
            return Err(Failure::NoList);
        }
        let presence = Presence::new();
        let blocks =
            HeapAndGuards::new(&self.heap, guards).with_holes(tools.holes.list()).with_pages(&presence);
        if Marks::words_needed(blocks.number_limit()) > tools.words_per_set {
            return Err(Failure::NoMemory);
        }
        let sets = sets_in(tools.sets.slice());
        let mut marker = Marker::new(&blocks, sets.reached, tools.stack.slice_mut(), Filter::best());
        // SAFETY: memory of this frame, and of the frames of stopped threads; blocks can be read while they are live.
        let mut mark = |start: usize, bytes: usize| unsafe { marker.mark_from(start, bytes) };
        mark(core::ptr::from_ref(registers).expose_provenance(), size_of::<Registers>());
        let roots = Roots {
            own: &own,
            stack_pointer: registers.rsp as usize,
            thread: hk_recorder::tid(),
            signal_stack: hk_os::SignalStack::of_calling_thread(),
        };
        if !mark_from_roots(&world, &roots, &mut tools.window, mark) {
            return Err(Failure::NoList);
        }
        let lost = &mut tools.lost;
        // SAFETY: all other threads are stopped; blocks can be read while they are live.
        unsafe {
            find_leaks(&blocks, sets, tools.stack.slice_mut(), |leak| {
                self.lost_block(&leak).iter().for_each(|block| lost.add(block));
            });
        }
        drop(world);
        Ok(tools.lost)
    }

    /// Where nothing is looked for: the heap with its guarded blocks, this, which knows blocks by their addresses, and what is worked with.
    fn own_places(&self, tools: &Tools) -> [(usize, usize); 7] {
        let this = (core::ptr::from_ref(self).addr(), size_of::<Self>());
        let [sets, stack, window, lost, holes] = tools.places();
        [self.heap.reservation(), this, sets, stack, window, lost, holes]
    }

    /// What is known of it; None if it is the parent's affair.
    fn lost_block(&self, leak: &hk_scan::Leak) -> Option<LostBlock> {
        let life = self.guarding.guards.life_at(leak.block.start);
        let since_ns = self.guarding.since_ns();
        let (stack, time_ns) = match life {
            Some(life) => (life.allocated.stack, life.allocated.time_ns),
            // When it was allocated is not known: in a fork child it may be from before.
            None if since_ns > 0 => return None,
            None => (0, 0),
        };
        (time_ns >= since_ns || since_ns == 0).then_some(LostBlock {
            loss: match leak.kind {
                LeakKind::Direct => Loss::Direct,
                LeakKind::Cycle => Loss::Cycle,
            },
            stack,
            start: leak.block.start as u64,
            bytes: leak.block.bytes as u64,
            time_ns,
            indirect_blocks: leak.indirect_blocks,
            indirect_bytes: leak.indirect_bytes,
        })
    }

    fn tell_leak(&self, at: &LostAt, call: Call) {
        let life = if at.stack == 0 { None } else { self.guarding.guards.life_at(at.oldest as usize) };
        let told = life.as_ref().map(|life| self.block_life(life, false));
        let block_bytes = life.as_ref().map_or(at.bytes / at.blocks, |life| life.requested_bytes as u64);
        let bad = BadCall {
            kind: FindingKind::Leak,
            call,
            place: Place::InsideLiveBlock,
            address: at.oldest,
            block_start: at.oldest,
            block_bytes,
            place_start: 0,
            place_end: 0,
            place_name: b"",
            aborted: false,
            time_ns: hk_os::now_ns(),
            evidence: Evidence::Scan,
            access: Access::default(),
            life: told.as_ref(),
            leak: Some(LostBlocks {
                loss: at.loss(),
                every: self.guarding.rate(),
                blocks: at.blocks,
                bytes: at.bytes,
                indirect_blocks: at.indirect_blocks,
                indirect_bytes: at.indirect_bytes,
            }),
        };
        self.stop.record(|| {
            if self.recording.is_open() {
                self.recording.record_leak(&bad);
            } else {
                hk_recorder::print_leak(&bad);
            }
        });
    }

    fn note_failure(&self, failure: &Failure) {
        let (detail, why) = failure.told();
        self.recording.note(NoteKind::NoScan, detail, why);
    }
}

impl Failure {
    /// The thread that it is about, or 0, and the reason for a person.
    pub(crate) fn told(&self) -> (u64, &'static [u8]) {
        match self {
            Failure::Stop(hk_os::StopFailure::NoAnswer(thread)) => {
                (u64::from(*thread), b"a thread did not stop in time")
            }
            Failure::Stop(hk_os::StopFailure::TooMany) => (0, b"there are too many threads"),
            Failure::Stop(hk_os::StopFailure::Busy) => (0, b"another scan went on"),
            Failure::Stop(hk_os::StopFailure::Refused) => (0, b"the system refused to signal threads"),
            Failure::Stop(hk_os::StopFailure::NoList) => (0, b"threads could not be listed"),
            Failure::Sandbox => (0, b"a sandbox forbids it"),
            Failure::NoMemory => (0, b"there was no memory for it"),
            Failure::NoTracking => (0, b"the system does not tell which memory is written to"),
            Failure::NoList => (0, b"memory or the list of its mappings could not be read"),
        }
    }
}

/// Marks from the registers of stopped threads, and from all memory that leads somewhere. False if that can't be read.
pub(crate) fn mark_from_roots<H: Host>(
    world: &StoppedWorld<H>,
    roots: &Roots<'_>,
    window: &mut Scratch<u64>,
    mut mark: impl FnMut(usize, usize),
) -> bool {
    world.contexts().flat_map(|context| context.registers()).for_each(|(start, bytes)| mark(start, bytes));
    let presence = Presence::new();
    let mut is_read = true;
    let listed = roots.for_each_piece(
        |each| world.contexts().for_each(|context| each(&context)),
        |_, piece| {
            is_read &= look_at(window, &presence, piece, |_, words| {
                mark(words.as_ptr().expose_provenance(), size_of_val(words));
            });
        },
    );
    listed && is_read
}
