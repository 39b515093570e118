//! Writes a snapshot from plain items, for tests and for whoever makes one outside of the program.

use hk_format::{
    AreaRecord, BlockRecord, CHUNK_BYTES_MAX, CHUNK_MAGIC, ChunkHeader, ChunkKind, FreedRecord, KnownLife,
    MappingRecord, ModuleHeader, PointerRecord, RootRecord, SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SnapshotHeader,
    SnapshotTotals, SpanRecord, SpanWord, StackRecord, ThreadRecord,
};
use std::io::{self, Write};
use std::mem::size_of;
use zerocopy::IntoBytes;

/// Pointers that one record of a block has at most: the rest goes on in the next.
const POINTERS_MAX: usize =
    (CHUNK_BYTES_MAX as usize - size_of::<BlockRecord>()) / size_of::<PointerRecord>();

/// Items go out in chunks as they come. They have to come in the order that the format asks for: modules, threads, mappings, roots, blocks by
/// address, lives, freed blocks, stacks, areas, spans by address.
///
/// # Panics
/// Each function, if it is called out of this order or with an item that is longer than a chunk.
pub struct Writer<W: Write> {
    out: W,
    kind: u32,
    body: Vec<u8>,
    count: u32,
    totals: SnapshotTotals,
}

impl<W: Write> Writer<W> {
    /// Begins a snapshot; magic and version are put in.
    ///
    /// # Errors
    /// Those of the output, here and in all other functions.
    pub fn new(mut out: W, header: SnapshotHeader) -> io::Result<Writer<W>> {
        let header = SnapshotHeader { magic: SNAPSHOT_MAGIC, version: SNAPSHOT_VERSION, ..header };
        out.write_all(header.as_bytes())?;
        Ok(Writer { out, kind: 0, body: Vec::new(), count: 0, totals: SnapshotTotals::default() })
    }

    /// A module; `path_len` is put in.
    ///
    /// # Errors
    /// Those of the output.
    pub fn module(&mut self, header: ModuleHeader, path: &[u8]) -> io::Result<()> {
        let header = ModuleHeader { path_len: path.len() as u32, ..header };
        let padding = [0; 8];
        let padding = &padding[..path.len().next_multiple_of(8) - path.len()];
        self.item(ChunkKind::Module, &[header.as_bytes(), path, padding])
    }

    /// A thread.
    ///
    /// # Errors
    /// Those of the output.
    pub fn thread(&mut self, thread: &ThreadRecord) -> io::Result<()> {
        self.item(ChunkKind::Thread, &[thread.as_bytes()])
    }

    /// A mapping.
    ///
    /// # Errors
    /// Those of the output.
    pub fn mapping(&mut self, mapping: &MappingRecord) -> io::Result<()> {
        self.item(ChunkKind::Mapping, &[mapping.as_bytes()])
    }

    /// A root.
    ///
    /// # Errors
    /// Those of the output.
    pub fn root(&mut self, root: &RootRecord) -> io::Result<()> {
        self.totals.roots += 1;
        self.item(ChunkKind::Root, &[root.as_bytes()])
    }

    /// A live block and its pointers.
    ///
    /// # Errors
    /// Those of the output.
    pub fn block(&mut self, start: u64, bytes: u64, pointers: &[PointerRecord]) -> io::Result<()> {
        self.totals.blocks += 1;
        self.totals.block_bytes += bytes;
        self.totals.pointers += pointers.len() as u64;
        let record =
            |pointers: usize, goes_on| BlockRecord { start, bytes, pointers: pointers as u32, goes_on };
        let (first, rest) = pointers.split_at(pointers.len().min(POINTERS_MAX));
        self.item(ChunkKind::Block, &[record(first.len(), 0).as_bytes(), first.as_bytes()])?;
        for part in rest.chunks(POINTERS_MAX) {
            self.item(ChunkKind::Block, &[record(part.len(), 1).as_bytes(), part.as_bytes()])?;
        }
        Ok(())
    }

    /// What is known of a live block.
    ///
    /// # Errors
    /// Those of the output.
    pub fn life(&mut self, life: &KnownLife) -> io::Result<()> {
        self.item(ChunkKind::Life, &[life.as_bytes()])
    }

    /// A free block that something points to.
    ///
    /// # Errors
    /// Those of the output.
    pub fn freed(&mut self, freed: &FreedRecord) -> io::Result<()> {
        self.totals.freed += 1;
        self.item(ChunkKind::Freed, &[freed.as_bytes()])
    }

    /// A stack: return addresses, innermost first.
    ///
    /// # Errors
    /// Those of the output.
    pub fn stack(&mut self, stack: u32, frames: &[u64]) -> io::Result<()> {
        let record = StackRecord { stack, frames: frames.len() as u32 };
        self.item(ChunkKind::Stack, &[record.as_bytes(), frames.as_bytes()])
    }

    /// An area.
    ///
    /// # Errors
    /// Those of the output.
    pub fn area(&mut self, area: &AreaRecord) -> io::Result<()> {
        self.item(ChunkKind::Area, &[area.as_bytes()])
    }

    /// A span and what its blocks are; `words` of the record is put in.
    ///
    /// # Errors
    /// Those of the output.
    pub fn span(&mut self, span: &SpanRecord, words: &[SpanWord]) -> io::Result<()> {
        let record = SpanRecord { words: words.len() as u32, ..*span };
        self.item(ChunkKind::Span, &[record.as_bytes(), words.as_bytes()])
    }

    /// Writes the end, and gives the output back.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        let totals = self.totals;
        self.item(ChunkKind::End, &[totals.as_bytes()])?;
        self.flush_chunk()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn item(&mut self, kind: ChunkKind, parts: &[&[u8]]) -> io::Result<()> {
        assert!(kind as u32 >= self.kind, "{kind:?} after what follows it");
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        assert!(bytes.is_multiple_of(8) && bytes <= CHUNK_BYTES_MAX as usize, "an item of {bytes} bytes");
        if self.kind != kind as u32 || self.body.len() + bytes > CHUNK_BYTES_MAX as usize {
            self.flush_chunk()?;
            self.kind = kind as u32;
        }
        parts.iter().for_each(|part| self.body.extend_from_slice(part));
        self.count += 1;
        Ok(())
    }

    fn flush_chunk(&mut self) -> io::Result<()> {
        if self.count > 0 {
            let bytes = self.body.len() as u32;
            let header = ChunkHeader { magic: CHUNK_MAGIC, kind: self.kind, bytes, count: self.count };
            self.out.write_all(header.as_bytes())?;
            self.out.write_all(&self.body)?;
            self.body.clear();
            self.count = 0;
        }
        Ok(())
    }
}
