//! Whether a snapshot is whole, counted while it passes through: its head, its chunks, and what its end says.

use hk_format::{
    BlockRecord, CHUNK_BYTES_MAX, CHUNK_MAGIC, ChunkHeader, ChunkKind, PointerRecord, SNAPSHOT_MAGIC,
    SNAPSHOT_VERSION, SnapshotHeader, SnapshotTotals,
};
use std::io::{self, Read};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A snapshot that is read through here, to its end or to an error.
pub struct Counted<R> {
    source: R,
    header: SnapshotHeader,
    /// What was checked and not given yet: from `given` on.
    bytes: Vec<u8>,
    given: usize,
    counted: SnapshotTotals,
    has_ended: bool,
}

impl<R: Read> Counted<R> {
    /// Reads the head.
    pub fn new(mut source: R) -> io::Result<Self> {
        let mut header = SnapshotHeader::new_zeroed();
        source.read_exact(header.as_mut_bytes()).map_err(cut_short)?;
        if header.magic != SNAPSHOT_MAGIC || header.version != SNAPSHOT_VERSION {
            return Err(io::Error::other("what came is no snapshot of this version"));
        }
        let counted = SnapshotTotals::default();
        let bytes = header.as_bytes().to_vec();
        Ok(Counted { source, header, bytes, given: 0, counted, has_ended: false })
    }

    /// The head.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// What was counted so far.
    pub fn totals(&self) -> &SnapshotTotals {
        &self.counted
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut header = ChunkHeader::new_zeroed();
        self.source.read_exact(header.as_mut_bytes()).map_err(cut_short)?;
        let kind = ChunkKind::from_u32(header.kind);
        let is_sound =
            header.magic == CHUNK_MAGIC && header.bytes <= CHUNK_BYTES_MAX && header.bytes % 8 == 0;
        let (Some(kind), true) = (kind, is_sound) else { return Err(damaged()) };
        self.bytes.clear();
        self.given = 0;
        self.bytes.extend_from_slice(header.as_bytes());
        let start = self.bytes.len();
        self.bytes.resize(start + header.bytes as usize, 0);
        self.source.read_exact(&mut self.bytes[start..]).map_err(cut_short)?;
        let body = &self.bytes[start..];
        let count = u64::from(header.count);
        match kind {
            ChunkKind::Root => self.counted.roots += count,
            ChunkKind::Freed => self.counted.freed += count,
            ChunkKind::Block => count_blocks(&mut self.counted, body, count)?,
            ChunkKind::End => {
                let totals = SnapshotTotals::read_from_bytes(body).map_err(|_| damaged())?;
                self.has_ended = true;
                if totals != self.counted || self.source.read(&mut [0])? != 0 {
                    return Err(damaged());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn count_blocks(counted: &mut SnapshotTotals, mut body: &[u8], count: u64) -> io::Result<()> {
    for _ in 0..count {
        let (record, rest) = BlockRecord::read_from_prefix(body).map_err(|_| damaged())?;
        body = rest.get(record.pointers as usize * size_of::<PointerRecord>()..).ok_or_else(damaged)?;
        counted.pointers += u64::from(record.pointers);
        if record.goes_on == 0 {
            counted.blocks += 1;
            counted.block_bytes += record.bytes;
        }
    }
    if body.is_empty() { Ok(()) } else { Err(damaged()) }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.bytes.len() {
            if self.has_ended {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let rest = &self.bytes[self.given..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}

fn cut_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("it ends before its end"),
        _ => error,
    }
}

fn damaged() -> io::Error {
    io::Error::other("what came contradicts itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: ChunkKind, count: u32, body: &[u8]) -> Vec<u8> {
        let header = ChunkHeader { magic: CHUNK_MAGIC, kind: kind as u32, bytes: body.len() as u32, count };
        [header.as_bytes(), body].concat()
    }

    fn snapshot(totals: SnapshotTotals) -> Vec<u8> {
        let header = SnapshotHeader {
            magic: SNAPSHOT_MAGIC,
            version: SNAPSHOT_VERSION,
            pid: 1,
            ..SnapshotHeader::new_zeroed()
        };
        let block = |pointers, goes_on| BlockRecord { start: 64, bytes: 32, pointers, goes_on };
        let pointer = PointerRecord { target: 64, word: 0, is_freed: 0 };
        let (first, next) = (block(1, 0), block(1, 1));
        let blocks = [first.as_bytes(), pointer.as_bytes(), next.as_bytes(), pointer.as_bytes()].concat();
        let end = chunk(ChunkKind::End, 1, totals.as_bytes());
        [header.as_bytes(), &chunk(ChunkKind::Block, 2, &blocks), &end].concat()
    }

    const TOTALS: SnapshotTotals =
        SnapshotTotals { blocks: 1, block_bytes: 32, pointers: 2, roots: 0, freed: 0 };

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Counted::new(bytes)?.read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn a_whole_one_passes_unchanged() {
        let whole = snapshot(TOTALS);
        assert_eq!(read(&whole).unwrap(), whole);
    }

    #[test]
    fn what_is_cut_or_contradicts_itself_is_refused() {
        let whole = snapshot(TOTALS);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "cut to {len}");
        }
        assert!(read(&[&whole[..], &[0]].concat()).is_err());
        assert!(read(&snapshot(SnapshotTotals { pointers: 3, ..TOTALS })).is_err());
        let mut other = whole.clone();
        other[size_of::<SnapshotHeader>() + 8] ^= 8;
        assert!(read(&other).is_err());
    }
}
