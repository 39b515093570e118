//! A snapshot, taken apart.

use hk_format::{
    AreaKind, AreaRecord, BlockRecord, CHUNK_MAGIC, ChunkHeader, ChunkKind, FreedRecord, KnownLife,
    MappingRecord, ModuleHeader, PointerRecord, RootKind, RootRecord, SNAPSHOT_MAGIC, SNAPSHOT_VERSION,
    SnapshotHeader, SnapshotTotals, SpanRecord, SpanWord, StackRecord, ThreadRecord,
};
use std::collections::BTreeMap;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// All of a snapshot.
pub struct Snapshot {
    pub header: SnapshotHeader,
    pub modules: Vec<(ModuleHeader, String)>,
    pub threads: Vec<ThreadRecord>,
    pub mappings: Vec<MappingRecord>,
    pub roots: Vec<RootRecord>,
    /// By their first addresses: size, and pointers.
    pub blocks: BTreeMap<u64, (u64, Vec<PointerRecord>)>,
    pub lives: Vec<KnownLife>,
    pub freed: Vec<FreedRecord>,
    pub stacks: BTreeMap<u32, Vec<u64>>,
    pub areas: Vec<AreaRecord>,
    pub spans: Vec<(SpanRecord, Vec<SpanWord>)>,
}

fn take<T: FromBytes + KnownLayout + Immutable>(rest: &mut &[u8]) -> T {
    let (value, behind) = T::read_from_prefix(rest).unwrap();
    *rest = behind;
    value
}

impl Snapshot {
    /// Asserts that it is whole, in order, and counts right.
    pub fn parse(bytes: &[u8]) -> Snapshot {
        let mut rest = bytes;
        let header: SnapshotHeader = take(&mut rest);
        assert_eq!((header.magic, header.version), (SNAPSHOT_MAGIC, SNAPSHOT_VERSION));
        let mut snapshot = Snapshot {
            header,
            modules: Vec::new(),
            threads: Vec::new(),
            mappings: Vec::new(),
            roots: Vec::new(),
            blocks: BTreeMap::new(),
            lives: Vec::new(),
            freed: Vec::new(),
            stacks: BTreeMap::new(),
            areas: Vec::new(),
            spans: Vec::new(),
        };
        let mut last = 0;
        let totals = loop {
            let chunk: ChunkHeader = take(&mut rest);
            assert_eq!(chunk.magic, CHUNK_MAGIC);
            assert!(chunk.kind >= last && chunk.bytes.is_multiple_of(8));
            last = chunk.kind;
            let (mut body, behind) = rest.split_at(chunk.bytes as usize);
            rest = behind;
            let kind = ChunkKind::from_u32(chunk.kind).unwrap();
            if kind == ChunkKind::End {
                break take::<SnapshotTotals>(&mut body);
            }
            (0..chunk.count).for_each(|_| snapshot.item(kind, &mut body));
            assert!(body.is_empty());
        };
        assert!(rest.is_empty());
        assert_eq!(totals, snapshot.totals());
        snapshot.check_spans();
        snapshot
    }

    fn item(&mut self, kind: ChunkKind, body: &mut &[u8]) {
        match kind {
            ChunkKind::Module => {
                let header: ModuleHeader = take(body);
                let (path, behind) = body.split_at((header.path_len as usize).next_multiple_of(8));
                *body = behind;
                let path = &path[..header.path_len as usize];
                self.modules.push((header, String::from_utf8(path.to_vec()).unwrap()));
            }
            ChunkKind::Thread => self.threads.push(take(body)),
            ChunkKind::Mapping => self.mappings.push(take(body)),
            ChunkKind::Root => self.roots.push(take(body)),
            ChunkKind::Block => self.block(body),
            ChunkKind::Life => self.lives.push(take(body)),
            ChunkKind::Freed => self.freed.push(take(body)),
            ChunkKind::Stack => {
                let record: StackRecord = take(body);
                let frames = (0..record.frames).map(|_| take(body)).collect();
                assert!(self.stacks.insert(record.stack, frames).is_none());
            }
            ChunkKind::Area => self.areas.push(take(body)),
            ChunkKind::Span => {
                let record: SpanRecord = take(body);
                let words = (0..record.words).map(|_| take(body)).collect();
                self.spans.push((record, words));
            }
            ChunkKind::End => unreachable!(),
        }
    }

    fn block(&mut self, body: &mut &[u8]) {
        let record: BlockRecord = take(body);
        let pointers = (0..record.pointers).map(|_| take::<PointerRecord>(body));
        if record.goes_on == 0 {
            assert!(self.blocks.keys().next_back().is_none_or(|&last| last < record.start));
            self.blocks.insert(record.start, (record.bytes, pointers.collect()));
        } else {
            self.blocks.get_mut(&record.start).unwrap().1.extend(pointers);
        }
    }

    /// Each live block is guarded, or the one that a bit of a span says.
    fn check_spans(&self) {
        let is_guard = |start: u64| {
            let mut guards = self.areas.iter().filter(|area| area.kind == AreaKind::Guards as u32);
            guards.any(|area| (area.start..area.start + area.bytes).contains(&start))
        };
        let of_spans = self.spans.iter().flat_map(|(span, words)| {
            assert_eq!(span.words, span.block_count.div_ceil(64));
            let bits = (0..u64::from(span.block_count))
                .filter(|bit| words[*bit as usize / 64].live >> (bit % 64) & 1 == 1);
            bits.map(|bit| (span.start + bit * span.block_bytes, span.block_bytes))
        });
        let blocks = self.blocks.iter().filter(|(start, _)| !is_guard(**start));
        assert!(of_spans.eq(blocks.map(|(start, (bytes, _))| (*start, *bytes))));
    }

    fn totals(&self) -> SnapshotTotals {
        SnapshotTotals {
            blocks: self.blocks.len() as u64,
            block_bytes: self.blocks.values().map(|(bytes, _)| bytes).sum(),
            pointers: self.blocks.values().map(|(_, pointers)| pointers.len() as u64).sum(),
            roots: self.roots.len() as u64,
            freed: self.freed.len() as u64,
        }
    }

    /// A block's pointers: word, target, whether that is free.
    pub fn pointers(&self, block: u64) -> Vec<(u32, u64, bool)> {
        let (_, pointers) = self.blocks.get(&block).unwrap_or_else(|| panic!("no block {block:#x}"));
        pointers.iter().map(|p| (p.word, p.target, p.is_freed == 1)).collect()
    }

    /// What stands at a place: target, kind, thread, whether that is free.
    pub fn root_at(&self, kind: RootKind, place: u64) -> Option<(u64, u32, bool)> {
        let root = self.roots.iter().find(|root| root.place == place && root.kind == kind as u32)?;
        Some((root.target, root.tid, root.is_freed == 1))
    }
}
