//! A snapshot ([`hk_format::SnapshotHeader`]): all blocks, and every pointer to one. Written by a frozen image of the process, in bounded memory.

use super::chunks::Chunks;
use super::holes::Holes;
use super::memory::{Presence, Scratch, WINDOW_WORDS, look_at};
use super::roots::{Piece, Roots};
use super::sink::{Sink, wait_for_stop_ns};
use super::world::StoppedWorld;
use crate::process::{Host, ProcessHeap};
use core::sync::atomic::AtomicU64;
use hk_format::{
    AreaKind, AreaRecord, ChunkKind, FreedRecord, KnownLife, MAPPING_PATH_BYTES, MappingRecord,
    PROCESS_NAME_BYTES, PointerRecord, Refusal, RootKind, RootRecord, SNAPSHOT_MAGIC, SNAPSHOT_VERSION,
    SnapshotHeader, SnapshotTotals, SpanRecord, SpanWord, StackRecord, ThreadRecord,
};
use hk_heap::{Area, BlockSets, SpanContents};
use hk_os::{Linux, own_memory, thread_name_of};
use hk_recorder::{ReadableMapping, Registers, STACK_FRAMES_MAX, StackId};
use hk_scan::{AddressRange, Block, Blocks, HeapAndGuards, Marks};

const WORD: usize = size_of::<usize>();

/// What is known when everybody stands still.
pub(super) struct Moment<'a, H: Host> {
    pub(super) process: &'static ProcessHeap<H>,
    pub(super) world: &'a StoppedWorld<H>,
    /// Those of the thread that asks, in a function below which nothing of the program's stands.
    pub(super) registers: &'a Registers,
    pub(super) thread: u32,
    pub(super) pid: u32,
    pub(super) time_ns: u64,
    /// The stack that the image works on.
    pub(super) stack: (usize, usize),
}

/// Memory to work with.
struct Tools {
    window: Scratch<u64>,
    holes: Holes,
    /// Free blocks that something points to.
    freed: Scratch<AtomicU64>,
    /// Stacks that were named.
    stacks: Scratch<AtomicU64>,
}

impl Tools {
    fn new<H: Host>(process: &ProcessHeap<H>) -> Option<Self> {
        let numbers = HeapAndGuards::new(&process.heap, &process.guarding.guards).number_limit();
        Some(Tools {
            window: Scratch::new(WINDOW_WORDS)?,
            holes: Holes::new()?,
            freed: Scratch::new(Marks::words_needed(numbers))?,
            stacks: Scratch::new(Marks::words_needed(process.guarding.stacks.number_limit() + 1))?,
        })
    }
}

/// A snapshot that is being written.
struct Snapshot<'a, H: Host, S> {
    moment: &'a Moment<'a, H>,
    blocks: HeapAndGuards<'a, Linux, Linux>,
    range: AddressRange,
    chunks: Chunks<S>,
    freed: Marks<'a>,
    stacks: Marks<'a>,
    totals: SnapshotTotals,
}

/// Writes the snapshot of a moment, in its image.
pub(super) fn write<H: Host, S: Sink>(moment: &Moment<'_, H>, sink: S) -> ! {
    let (Some(mut tools), Some(buffer)) = (Tools::new(moment.process), Chunks::<S>::buffer()) else {
        sink.refuse(Refusal::NoMemory);
        hk_os::end_image()
    };
    let Some(stop_ns) = wait_for_stop_ns(&sink) else { hk_os::end_image() };
    let chunks = Chunks::new(sink, buffer);
    let (start, bytes) = moment.process.heap.reservation();
    if !tools.holes.look(start, bytes) {
        chunks.refuse(Refusal::NoMappings)
    }
    let guards = &moment.process.guarding.guards;
    let blocks = HeapAndGuards::new(&moment.process.heap, guards).with_holes(tools.holes.list());
    let mut snapshot = Snapshot {
        moment,
        blocks,
        range: blocks.range(),
        chunks,
        freed: Marks::new(tools.freed.slice()),
        stacks: Marks::new(tools.stacks.slice()),
        totals: SnapshotTotals::default(),
    };
    let scratch = [tools.holes.place(), tools.freed.place(), tools.stacks.place()];
    snapshot.header(stop_ns);
    snapshot.modules();
    snapshot.threads();
    if !snapshot.roots(&mut tools.window, scratch) {
        snapshot.chunks.refuse(Refusal::NoMappings)
    }
    snapshot.blocks();
    snapshot.lives();
    snapshot.freed();
    snapshot.stacks();
    snapshot.areas();
    snapshot.spans();
    snapshot.end()
}

impl<H: Host, S: Sink> Snapshot<'_, H, S> {
    fn header(&mut self, stop_ns: u64) {
        let process = self.moment.process;
        let mut program = [0; PROCESS_NAME_BYTES];
        let program_len = hk_recorder::program_path(&mut program) as u32;
        self.chunks.begin(&SnapshotHeader {
            magic: SNAPSHOT_MAGIC,
            version: SNAPSHOT_VERSION,
            pid: self.moment.pid,
            time_ns: self.moment.time_ns,
            start_ns: process.recording.process_start_ns(),
            heap_start: self.range.start as u64,
            heap_bytes: self.range.bytes as u64,
            stop_ns,
            every: process.guarding.rate(),
            mode: process.mode() as u32,
            program_len,
            reserved: 0,
            program,
        });
    }

    fn modules(&mut self) {
        let chunks = &mut self.chunks;
        self.moment.process.guarding.stacks.for_each_module(|words| {
            const HEAD_WORDS: usize = size_of::<hk_format::ModuleHeader>() / WORD;
            let (head, path) = words.split_at(HEAD_WORDS.min(words.len()));
            if let Ok(head) = <[u64; HEAD_WORDS]>::try_from(head) {
                chunks.item(ChunkKind::Module, &head, path);
            }
        });
    }

    fn threads(&mut self) {
        let (pid, registers) = (self.moment.pid, self.moment.registers);
        let mut thread = |tid: u32, stack_pointer: u64, instruction: u64| {
            let name = thread_name_of(pid, tid);
            let record = ThreadRecord { tid, reserved: 0, name, stack_pointer, instruction };
            self.chunks.item(ChunkKind::Thread, &record, &[]);
        };
        thread(self.moment.thread, registers.rsp, registers.rip);
        self.moment.world.contexts().for_each(|context| {
            thread(context.thread(), context.stack_pointer() as u64, context.instruction() as u64);
        });
    }

    /// False if memory or its mappings can't be read.
    fn roots(&mut self, window: &mut Scratch<u64>, scratch: [(usize, usize); 3]) -> bool {
        let moment = self.moment;
        let this = (core::ptr::from_ref(moment.process).addr(), size_of::<ProcessHeap<H>>());
        let [holes, freed, stacks] = scratch;
        let reservation = moment.process.heap.reservation();
        let own =
            [reservation, this, moment.stack, window.place(), self.chunks.place(), holes, freed, stacks];
        let stack_pointer = moment.registers.rsp as usize;
        let roots = Roots {
            own: &own,
            stack_pointer,
            thread: moment.thread,
            // The image has what the thread has that it was made by.
            signal_stack: hk_os::SignalStack::of_calling_thread(),
        };
        let contexts = |each: &mut dyn FnMut(&hk_os::Context)| {
            moment.world.contexts().for_each(|context| each(&context));
        };
        let mut last = 0;
        let listed = roots.for_each_piece(contexts, |mapping, _| {
            if mapping.start != last {
                self.chunks.item(ChunkKind::Mapping, &mapping_record(mapping), &[]);
            }
            last = mapping.start;
        });
        self.registers();
        let present = Presence::new();
        // A fork copies no tables of what is shared: what of it is there only the process itself can tell.
        let shared = Presence::of_other(moment.pid, moment.thread);
        let mut is_read = true;
        let listed = listed
            && roots.for_each_piece(contexts, |mapping, piece| {
                let presence = if mapping.is_shared { shared.as_ref() } else { Some(&present) };
                if let Some(presence) = presence {
                    let piece = Piece { stays: false, ..piece };
                    is_read &= look_at(window, presence, piece, |at, words| {
                        self.words_of(mapping, piece, at, words);
                    });
                }
            });
        listed && is_read
    }

    fn registers(&mut self) {
        let registers = self.moment.registers;
        let preserved = [
            (6, registers.rbp),
            (3, registers.rbx),
            (12, registers.r12),
            (13, registers.r13),
            (14, registers.r14),
            (15, registers.r15),
        ];
        for (number, word) in preserved {
            self.root(number, word as usize, RootKind::Register, self.moment.thread);
        }
        for context in self.moment.world.contexts() {
            context.for_each_register(|number, word| {
                self.root(u64::from(number), word, RootKind::Register, context.thread());
            });
        }
    }

    fn words_of(&mut self, mapping: &ReadableMapping, piece: Piece, at: usize, words: &[u64]) {
        self.chunks.note_seen(size_of_val(words));
        let kind = match () {
            () if piece.thread != 0 => RootKind::Stack,
            () if mapping.is_static => RootKind::Data,
            () => RootKind::Other,
        };
        for (nth, &word) in words.iter().enumerate() {
            self.root((at + nth * WORD) as u64, word as usize, kind, piece.thread);
        }
    }

    #[inline]
    fn root(&mut self, place: u64, word: usize, kind: RootKind, tid: u32) {
        let Some((target, is_freed)) = self.target(word) else { return };
        self.totals.roots += 1;
        let root = RootRecord { place, target, kind: kind as u32, tid, is_freed, reserved: 0 };
        self.chunks.item(ChunkKind::Root, &root, &[]);
    }

    /// The block that a word points to, and whether that is free.
    #[inline]
    fn target(&self, word: usize) -> Option<(u64, u32)> {
        if !self.range.contains(word) {
            return None;
        }
        let (block, is_live) = self.blocks.find(word)?;
        if !is_live {
            self.freed.insert(block.number);
        }
        Some((block.start as u64, u32::from(!is_live)))
    }

    fn blocks(&mut self) {
        let blocks = self.blocks;
        blocks.for_each(&mut |block| {
            self.totals.blocks += 1;
            self.totals.block_bytes += block.bytes as u64;
            self.chunks.block(&block);
            blocks.for_each_part(block.start, block.bytes, &mut |start, bytes| {
                self.pointers(&block, start, bytes);
            });
            self.chunks.note_seen(block.bytes);
        });
    }

    fn pointers(&mut self, block: &Block, start: usize, bytes: usize) {
        let words: *const usize = core::ptr::with_exposed_provenance(start);
        // SAFETY: a part of a live block that can be read; nobody writes to it in an image.
        let words = unsafe { core::slice::from_raw_parts(words, bytes / WORD) };
        let first = (start - block.start) / WORD;
        for (nth, &word) in words.iter().enumerate() {
            let Some((target, is_freed)) = self.target(word) else { continue };
            self.totals.pointers += 1;
            let pointer = PointerRecord { target, word: (first + nth) as u32, is_freed };
            self.chunks.pointer(block, &pointer);
        }
    }

    fn lives(&mut self) {
        let guards = &self.moment.process.guarding.guards;
        guards.for_each_live(|block| {
            let Some(life) = guards.life_at(block.start) else { return };
            self.name_stack(life.allocated.stack);
            let known = KnownLife {
                start: block.start as u64,
                requested_bytes: life.requested_bytes as u64,
                rounded_bytes: hk_heap::size_class::rounded(life.requested_bytes) as u64,
                time_ns: life.allocated.time_ns,
                tid: life.allocated.thread,
                stack: life.allocated.stack,
            };
            self.chunks.item(ChunkKind::Life, &known, &[]);
        });
    }

    fn freed(&mut self) {
        let blocks = self.blocks;
        blocks.for_each_free(|block| {
            if self.freed.contains(block.number) {
                self.totals.freed += 1;
                let record = self.freed_record(&block);
                self.chunks.item(ChunkKind::Freed, &record, &[]);
            }
        });
    }

    fn freed_record(&mut self, block: &Block) -> FreedRecord {
        let life = self.moment.process.guarding.guards.life_at(block.start).unwrap_or(NO_LIFE);
        self.name_stack(life.allocated.stack);
        self.name_stack(life.freed.stack);
        FreedRecord {
            start: block.start as u64,
            bytes: block.bytes as u64,
            requested_bytes: life.requested_bytes as u64,
            allocated_ns: life.allocated.time_ns,
            freed_ns: life.freed.time_ns,
            allocated_stack: life.allocated.stack,
            freed_stack: life.freed.stack,
            allocated_tid: life.allocated.thread,
            freed_tid: life.freed.thread,
        }
    }

    fn name_stack(&self, stack: u32) {
        if stack != 0 && (stack as usize) <= self.moment.process.guarding.stacks.number_limit() {
            self.stacks.insert(stack as usize);
        }
    }

    fn stacks(&mut self) {
        let kept = &self.moment.process.guarding.stacks;
        for stack in 1..=kept.number_limit() {
            if !self.stacks.contains(stack) {
                continue;
            }
            let mut frames = [0; STACK_FRAMES_MAX];
            let (count, _) = kept.frames(StackId::from_number(stack as u32), &mut frames);
            let record = StackRecord { stack: stack as u32, frames: count as u32 };
            self.chunks.item(ChunkKind::Stack, &record, &frames[..count]);
        }
    }

    fn areas(&mut self) {
        let mut area = |kind: AreaKind, start: usize, bytes: usize| {
            let record =
                AreaRecord { start: start as u64, bytes: bytes as u64, kind: kind as u32, reserved: 0 };
            if bytes > 0 {
                self.chunks.item(ChunkKind::Area, &record, &[]);
            }
        };
        self.moment.process.heap.for_each_area(|kind, start, bytes| {
            let kind = match kind {
                Area::Tables => AreaKind::Tables,
                Area::Blocks => AreaKind::Blocks,
                Area::Guards => AreaKind::Guards,
            };
            area(kind, start, bytes);
        });
        own_memory().for_each(|(start, bytes)| area(AreaKind::Own, start, bytes));
    }

    fn spans(&mut self) {
        let chunks = &mut self.chunks;
        self.moment.process.heap.for_each_span_contents(|span| {
            let mut words = [0; SPAN_WORDS_MAX * SPAN_WORD_WORDS];
            let mut used = 0;
            for BlockSets { live, retained, available } in span.sets().take(SPAN_WORDS_MAX) {
                words[used..used + SPAN_WORD_WORDS].copy_from_slice(&[live, retained, available]);
                used += SPAN_WORD_WORDS;
            }
            chunks.item(ChunkKind::Span, &span_record(&span, used / SPAN_WORD_WORDS), &words[..used]);
        });
    }

    fn end(mut self) -> ! {
        self.chunks.item(ChunkKind::End, &self.totals, &[]);
        self.chunks.end()
    }
}

/// A span of the smallest blocks has so many words.
const SPAN_WORDS_MAX: usize = hk_heap::SLICE_BYTES / hk_heap::size_class::UNIT_BYTES / 64;
/// How many words of 8 bytes a [`SpanWord`] has.
const SPAN_WORD_WORDS: usize = size_of::<SpanWord>() / WORD;

fn span_record(span: &SpanContents, words: usize) -> SpanRecord {
    SpanRecord {
        start: span.start() as u64,
        bytes: span.bytes() as u64,
        block_bytes: span.block_bytes() as u64,
        block_count: span.block_count() as u32,
        words: words as u32,
    }
}

/// Nothing is known of a block.
const NO_LIFE: hk_guard::Life = {
    let event = hk_guard::Event { stack: 0, thread: 0, time_ns: 0 };
    hk_guard::Life {
        start: 0,
        requested_bytes: 0,
        align_bytes: 0,
        pages_start: 0,
        pages_end: 0,
        is_live: false,
        family: 0,
        allocated: event,
        freed: event,
    }
};

fn mapping_record(mapping: &ReadableMapping) -> MappingRecord {
    let name = mapping.name();
    let name = &name[name.len().saturating_sub(MAPPING_PATH_BYTES)..];
    let mut path = [0; MAPPING_PATH_BYTES];
    path[..name.len()].copy_from_slice(name);
    let (start, end) = (mapping.start as u64, mapping.end as u64);
    MappingRecord { start, end, path_len: name.len() as u32, reserved: 0, path }
}
