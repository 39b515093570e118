//! From a stream of bytes to a [`Snapshot`]. Whatever the bytes are, the answer is a snapshot that is whole or one clear error; memory grows with
//! what was read, never with what a number in it promises.

use crate::chunk::{Chunks, Items};
use crate::error::SnapshotError;
use crate::graph::{Block, Blocks, Graph};
use crate::holders::Holder;
use crate::snapshot::{FreedPointer, Life, Lives, Module, Root, Snapshot, Spans, Stacks};
use hk_format::{
    AreaKind, AreaRecord, BlockRecord, ChunkKind, FreedRecord, KnownLife, MappingRecord, ModuleHeader,
    PointerRecord, RootKind, RootRecord, SnapshotTotals, SpanRecord, SpanWord, StackRecord, ThreadRecord,
};
use std::collections::{HashMap, VecDeque};
use std::io::Read;

/// Addresses that are kept in one piece until blocks have their numbers: pieces are freed one by one then, so that both never lie in memory whole.
const PIECE: usize = 1 << 20;

/// Reads a snapshot to its end, and nothing beyond it: a stream may go on.
///
/// # Errors
/// If it cannot be read, is cut short or contradicts itself; see [`SnapshotError`].
pub fn read(input: impl Read) -> Result<Snapshot, SnapshotError> {
    let (header, mut chunks) = Chunks::open(input)?;
    let mut parts = Parts::default();
    loop {
        let (kind, mut items) = chunks.next()?;
        if kind == ChunkKind::End {
            let totals = end(&mut items)?;
            return parts.finish(header, totals, items.offset());
        }
        while items.more()? {
            parts.item(kind, &mut items)?;
        }
    }
}

/// What was read so far; targets are addresses until all blocks are known.
#[derive(Default)]
struct Parts {
    modules: Vec<Module>,
    threads: Vec<ThreadRecord>,
    mappings: Vec<MappingRecord>,
    roots: Vec<PendingRoot>,
    blocks: Blocks,
    /// Where the pointers of each block begin.
    first: Vec<u32>,
    /// Pieces of the list of targets.
    targets: VecDeque<Vec<u64>>,
    words: Vec<u32>,
    freed_pointers: Vec<(Holder, u64)>,
    lives: Vec<Life>,
    freed: Vec<FreedRecord>,
    stacks: Stacks,
    /// Stacks by their numbers in the snapshot.
    stack_numbers: HashMap<u32, u32>,
    areas: Vec<AreaRecord>,
    spans: Spans,
    totals: SnapshotTotals,
}

struct PendingRoot {
    place: u64,
    target: u64,
    kind: RootKind,
    tid: u32,
}

impl Parts {
    fn item(&mut self, kind: ChunkKind, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        match kind {
            ChunkKind::Module => self.modules.push(module(items)?),
            ChunkKind::Thread => self.threads.push(items.take()?),
            ChunkKind::Mapping => self.mappings.push(items.take()?),
            ChunkKind::Root => self.root(items)?,
            ChunkKind::Block => self.block(items)?,
            ChunkKind::Life => self.life(items)?,
            ChunkKind::Freed => self.freed.push(items.take()?),
            ChunkKind::Stack => self.stack(items)?,
            ChunkKind::Area => self.area(items)?,
            ChunkKind::Span => self.span(items)?,
            ChunkKind::End => unreachable!("read apart"),
        }
        Ok(())
    }

    fn root(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let record: RootRecord = items.take()?;
        let Some(kind) = RootKind::from_u32(record.kind) else {
            return Err(items.damaged(format!("a root of unknown kind {}", record.kind)));
        };
        let RootRecord { place, target, tid, .. } = record;
        self.totals.roots += 1;
        if self.totals.roots >= u64::from(u32::MAX) {
            return Err(SnapshotError::TooLarge { offset: items.offset() });
        }
        match record.is_freed {
            0 => self.roots.push(PendingRoot { place, target, kind, tid }),
            _ => self.freed_pointers.push((Holder::Root { place, kind, tid }, target)),
        }
        Ok(())
    }

    fn block(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let record: BlockRecord = items.take()?;
        let block = Block { start: record.start, bytes: record.bytes };
        match record.goes_on {
            0 => self.new_block(block, items)?,
            _ if self.blocks.last() == Some(block) => {}
            _ => return Err(items.damaged("pointers go on of a block that was not the last".into())),
        }
        let number = self.blocks.len() as u32 - 1;
        for _ in 0..record.pointers {
            let pointer: PointerRecord = items.take()?;
            if u64::from(pointer.word) * 8 >= block.bytes {
                return Err(items.damaged(format!("a pointer behind its block's {} bytes", block.bytes)));
            }
            self.totals.pointers += 1;
            match pointer.is_freed {
                0 => self.pointer(&pointer, items)?,
                _ => {
                    let holder = Holder::Block { block: number, word: pointer.word };
                    self.freed_pointers.push((holder, pointer.target));
                }
            }
        }
        Ok(())
    }

    fn new_block(&mut self, block: Block, items: &Items<'_>) -> Result<(), SnapshotError> {
        let is_behind_last = self.blocks.last().is_none_or(|last| {
            // The end of the last one was checked when it came.
            block.start > last.start && block.start >= last.start + last.bytes
        });
        if !is_behind_last {
            return Err(items.damaged(format!("block {:#x} is not behind the one before it", block.start)));
        }
        if block.start.checked_add(block.bytes).is_none() {
            return Err(items.damaged(format!("block {:#x} goes beyond the last address", block.start)));
        }
        // The last numbers are kept for what is no block.
        if self.blocks.len() >= u32::MAX as usize / 2 {
            return Err(SnapshotError::TooLarge { offset: items.offset() });
        }
        self.first.push(self.words.len() as u32);
        self.blocks.push(block);
        self.totals.blocks += 1;
        self.totals.block_bytes = self.totals.block_bytes.saturating_add(block.bytes);
        Ok(())
    }

    fn pointer(&mut self, pointer: &PointerRecord, items: &Items<'_>) -> Result<(), SnapshotError> {
        if self.words.len() >= u32::MAX as usize - 1 {
            return Err(SnapshotError::TooLarge { offset: items.offset() });
        }
        if self.targets.back().is_none_or(|piece| piece.len() == PIECE) {
            // The first is small for small snapshots; the others are filled.
            let capacity = if self.targets.is_empty() { 0 } else { PIECE };
            self.targets.push_back(Vec::with_capacity(capacity));
        }
        self.targets.back_mut().expect("just made sure").push(pointer.target);
        self.words.push(pointer.word);
        Ok(())
    }

    /// The stack's number is the snapshot's until stacks are known.
    fn life(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let record: KnownLife = items.take()?;
        let Some(block) = self.blocks.find(record.start) else {
            return Err(items.damaged(format!("a life of {:#x}, where no live block is", record.start)));
        };
        let KnownLife { requested_bytes, rounded_bytes, time_ns, tid, stack, .. } = record;
        self.lives.push(Life { block, stack, tid, requested_bytes, rounded_bytes, time_ns });
        Ok(())
    }

    fn stack(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let record: StackRecord = items.take()?;
        for _ in 0..record.frames {
            self.stacks.frames.push(items.take()?);
        }
        let Ok(end) = u32::try_from(self.stacks.frames.len()) else {
            return Err(SnapshotError::TooLarge { offset: items.offset() });
        };
        self.stacks.ends.push(end);
        let number = self.stacks.len() as u32;
        match record.stack == 0 || self.stack_numbers.insert(record.stack, number).is_some() {
            true => Err(items.damaged(format!("stack {} is there twice, or has no number", record.stack))),
            false => Ok(()),
        }
    }

    fn area(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let area: AreaRecord = items.take()?;
        let is_sound =
            AreaKind::from_u32(area.kind).is_some() && area.start.checked_add(area.bytes).is_some();
        if !is_sound {
            return Err(items.damaged(format!("an area at {:#x} that cannot be", area.start)));
        }
        self.areas.push(area);
        Ok(())
    }

    fn span(&mut self, items: &mut Items<'_>) -> Result<(), SnapshotError> {
        let span: SpanRecord = items.take()?;
        let blocks = span.block_bytes.checked_mul(u64::from(span.block_count));
        // The end of the last one was checked when it came.
        let is_behind_last =
            self.spans.records.last().is_none_or(|last| span.start >= last.start + last.bytes);
        let is_sound = is_behind_last
            && span.block_bytes > 0
            && blocks.is_some_and(|bytes| bytes <= span.bytes)
            && span.start.checked_add(span.bytes).is_some()
            && span.words == span.block_count.div_ceil(u64::BITS);
        if !is_sound {
            return Err(items.damaged(format!("a span at {:#x} that cannot be", span.start)));
        }
        for nth in 0..span.words {
            let word: SpanWord = items.take()?;
            let present = (span.block_count - nth * u64::BITS).min(u64::BITS);
            let absent = u64::MAX.checked_shl(present).unwrap_or(0);
            if [word.live & word.retained, word.live & word.available, word.retained & word.available]
                .iter()
                .any(|&both| both != 0)
                || (word.live | word.retained | word.available) & absent != 0
            {
                return Err(items.damaged(format!("blocks of the span at {:#x} that cannot be", span.start)));
            }
            self.spans.words.push(word);
        }
        self.spans.records.push(span);
        Ok(())
    }

    fn finish(
        mut self,
        header: hk_format::SnapshotHeader,
        totals: SnapshotTotals,
        offset: u64,
    ) -> Result<Snapshot, SnapshotError> {
        let damaged = |what: String| SnapshotError::Damaged { offset, what };
        self.totals.freed = self.freed.len() as u64;
        if self.totals != totals {
            return Err(damaged(format!("its end tells of {totals:?}, and there are {:?}", self.totals)));
        }
        self.name_stacks().map_err(damaged)?;
        self.sort_lives().map_err(damaged)?;
        let freed_pointers = self.freed_pointers().map_err(damaged)?;
        let roots = self.roots().map_err(damaged)?;
        let targets = self.targets().map_err(damaged)?;
        self.first.push(targets.len() as u32);
        Ok(Snapshot {
            header,
            modules: self.modules,
            threads: self.threads,
            mappings: self.mappings,
            roots,
            graph: Graph::new(self.blocks, self.first, targets, self.words),
            lives: Lives(self.lives),
            freed: self.freed,
            freed_pointers,
            stacks: self.stacks,
            areas: self.areas,
            spans: self.spans,
            totals,
        })
    }

    /// Lives and freed blocks name stacks by their new numbers.
    fn name_stacks(&mut self) -> Result<(), String> {
        let lives = self.lives.iter_mut().map(|life| &mut life.stack);
        let freed = self.freed.iter_mut().flat_map(|f| [&mut f.allocated_stack, &mut f.freed_stack]);
        for stack in lives.chain(freed).filter(|stack| **stack != 0) {
            let number = self.stack_numbers.get(stack);
            *stack = *number.ok_or_else(|| format!("stack {stack} is named and not there"))?;
        }
        Ok(())
    }

    fn sort_lives(&mut self) -> Result<(), String> {
        self.lives.sort_unstable_by_key(|life| life.block);
        match self.lives.windows(2).any(|two| two[0].block == two[1].block) {
            true => Err("a block has two lives".into()),
            false => Ok(()),
        }
    }

    fn freed_pointers(&mut self) -> Result<Vec<FreedPointer>, String> {
        self.freed.sort_unstable_by_key(|freed| freed.start);
        if self.freed.windows(2).any(|two| two[0].start == two[1].start) {
            return Err("a free block is there twice".into());
        }
        let pointers = std::mem::take(&mut self.freed_pointers).into_iter();
        let resolve = |(holder, target)| match self.freed.binary_search_by_key(&target, |freed| freed.start) {
            Ok(at) => Ok(FreedPointer { holder, freed: at as u32 }),
            Err(_) => Err(format!("a pointer to {target:#x}, where no free block is")),
        };
        pointers.map(resolve).collect()
    }

    fn roots(&mut self) -> Result<Vec<Root>, String> {
        let pending = std::mem::take(&mut self.roots).into_iter();
        let resolve = |root: PendingRoot| {
            let block = self.blocks.find(root.target).ok_or_else(|| no_block(root.target))?;
            Ok(Root { place: root.place, kind: root.kind, tid: root.tid, block })
        };
        pending.map(resolve).collect()
    }

    fn targets(&mut self) -> Result<Vec<u32>, String> {
        let mut targets = Vec::with_capacity(self.words.len());
        while let Some(piece) = self.targets.pop_front() {
            for target in piece {
                targets.push(self.blocks.find(target).ok_or_else(|| no_block(target))?);
            }
        }
        Ok(targets)
    }
}

fn no_block(target: u64) -> String {
    format!("a pointer to {target:#x}, where no live block is")
}

fn module(items: &mut Items<'_>) -> Result<Module, SnapshotError> {
    let header: ModuleHeader = items.take()?;
    let path = items.take_bytes(header.path_len)?.to_vec();
    match header.start <= header.end && header.build_id_len as usize <= header.build_id.len() {
        true => Ok(Module { header, path }),
        false => Err(items.damaged("a module whose lengths cannot be".into())),
    }
}

/// The totals: one item, and nothing else.
fn end(items: &mut Items<'_>) -> Result<SnapshotTotals, SnapshotError> {
    if !items.more()? {
        return Err(items.damaged("an end without totals".into()));
    }
    let totals = items.take()?;
    match items.more()? {
        false => Ok(totals),
        true => Err(items.damaged("more than one end".into())),
    }
}
