//! A snapshot as chunks of items, each checked before anything in it is believed.

use crate::error::SnapshotError;
use hk_format::{
    CHUNK_BYTES_MAX, CHUNK_MAGIC, ChunkHeader, ChunkKind, SNAPSHOT_MAGIC, SNAPSHOT_VERSION, SnapshotHeader,
};
use std::io::{ErrorKind, Read};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Reads chunk by chunk; one lies in memory at a time.
pub(crate) struct Chunks<R> {
    input: R,
    /// Bytes that were read.
    offset: u64,
    body: Vec<u8>,
    last_kind: u32,
}

impl<R: Read> Chunks<R> {
    /// Reads how the snapshot begins.
    pub(crate) fn open(input: R) -> Result<(SnapshotHeader, Chunks<R>), SnapshotError> {
        let mut chunks = Chunks { input, offset: 0, body: Vec::new(), last_kind: 0 };
        let mut header = SnapshotHeader::new_zeroed();
        let is_whole = fill(&mut chunks.input, header.as_mut_bytes(), &mut chunks.offset)?;
        if header.magic != SNAPSHOT_MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        if !is_whole {
            return Err(SnapshotError::Cut { offset: chunks.offset });
        }
        if header.version != SNAPSHOT_VERSION {
            return Err(SnapshotError::OtherVersion(header.version));
        }
        Ok((header, chunks))
    }

    /// The next chunk's kind and its items.
    pub(crate) fn next(&mut self) -> Result<(ChunkKind, Items<'_>), SnapshotError> {
        let start = self.offset;
        let mut header = ChunkHeader::new_zeroed();
        self.read_exact(header.as_mut_bytes())?;
        let damaged = |what: String| Err(SnapshotError::Damaged { offset: start, what });
        if header.magic != CHUNK_MAGIC {
            return damaged("a chunk should begin here".into());
        }
        let Some(kind) = ChunkKind::from_u32(header.kind) else {
            return damaged(format!("a chunk of unknown kind {}", header.kind));
        };
        if header.kind < self.last_kind {
            return damaged(format!("a chunk of kind {kind:?} out of its order"));
        }
        if header.bytes > CHUNK_BYTES_MAX || !header.bytes.is_multiple_of(8) {
            return damaged(format!("a chunk of {} bytes", header.bytes));
        }
        self.last_kind = header.kind;
        let mut body = std::mem::take(&mut self.body);
        body.resize(header.bytes as usize, 0);
        let read = self.read_exact(&mut body);
        self.body = body;
        read?;
        let offset = self.offset - u64::from(header.bytes);
        Ok((kind, Items { rest: &self.body, offset, left: header.count }))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        match fill(&mut self.input, buffer, &mut self.offset)? {
            true => Ok(()),
            false => Err(SnapshotError::Cut { offset: self.offset }),
        }
    }
}

/// Whether there was enough to fill the buffer.
fn fill(input: &mut impl Read, buffer: &mut [u8], offset: &mut u64) -> Result<bool, SnapshotError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                filled += count;
                *offset += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(SnapshotError::Io { offset: *offset, error }),
        }
    }
    Ok(true)
}

/// What is left of a chunk.
pub(crate) struct Items<'a> {
    rest: &'a [u8],
    /// Where it lies in the snapshot.
    offset: u64,
    /// Items that are left.
    left: u32,
}

impl<'a> Items<'a> {
    /// Whether another item follows. An error if the chunk has more bytes than items.
    pub(crate) fn more(&mut self) -> Result<bool, SnapshotError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(true)
            }
            None if self.rest.is_empty() => Ok(false),
            None => Err(self.damaged(format!("{} bytes behind a chunk's last item", self.rest.len()))),
        }
    }

    /// The next part of an item.
    pub(crate) fn take<T: FromBytes>(&mut self) -> Result<T, SnapshotError> {
        match T::read_from_prefix(self.rest) {
            Ok((value, rest)) => {
                self.skip_to(rest);
                Ok(value)
            }
            Err(_) => Err(self.cut_item()),
        }
    }

    /// So many bytes, and what pads them to a multiple of 8.
    pub(crate) fn take_bytes(&mut self, count: u32) -> Result<&'a [u8], SnapshotError> {
        let padded = (count as usize).next_multiple_of(8);
        match self.rest.split_at_checked(padded) {
            Some((taken, rest)) => {
                self.skip_to(rest);
                Ok(&taken[..count as usize])
            }
            None => Err(self.cut_item()),
        }
    }

    /// An error about the item that was taken last.
    pub(crate) fn damaged(&self, what: String) -> SnapshotError {
        SnapshotError::Damaged { offset: self.offset, what }
    }

    /// Where it stands in the snapshot.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn cut_item(&self) -> SnapshotError {
        self.damaged("an item goes beyond its chunk's end".into())
    }

    fn skip_to(&mut self, rest: &'a [u8]) {
        self.offset += (self.rest.len() - rest.len()) as u64;
        self.rest = rest;
    }
}
