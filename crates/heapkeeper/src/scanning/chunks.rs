//! A snapshot's chunks on their way out: items are gathered, and written by the chunk.

use super::memory::Scratch;
use super::sink::Sink;
use hk_format::{BlockRecord, CHUNK_MAGIC, ChunkHeader, ChunkKind, PointerRecord, Refusal};
use hk_os::end_image;
use hk_scan::Block;
use zerocopy::{Immutable, IntoBytes};

/// Words of a chunk, with its head.
const CHUNK_WORDS: usize = (64 << 10) / WORD;
const WORD: usize = size_of::<u64>();
const HEADER_WORDS: usize = size_of::<ChunkHeader>() / WORD;
const BLOCK_WORDS: usize = size_of::<BlockRecord>() / WORD;
const POINTER_WORDS: usize = size_of::<PointerRecord>() / WORD;
/// Bytes that are looked at before it is asked again whether all this is wanted.
const BYTES_PER_LOOK: usize = 1 << 20;

/// See the module head. What can't be written any more ends the image.
pub(super) struct Chunks<S> {
    sink: S,
    buffer: Scratch<u64>,
    /// Words in use, the head's included.
    used: usize,
    kind: ChunkKind,
    count: u32,
    /// Where the present block's record stands.
    block_at: usize,
    seen_bytes: usize,
}

impl<S: Sink> Chunks<S> {
    /// No chunk yet.
    pub(super) fn new(sink: S, buffer: Scratch<u64>) -> Self {
        let (kind, used) = (ChunkKind::Module, HEADER_WORDS);
        Chunks { sink, buffer, used, kind, count: 0, block_at: 0, seen_bytes: 0 }
    }

    /// Room for a chunk.
    pub(super) fn buffer() -> Option<Scratch<u64>> {
        Scratch::new(CHUNK_WORDS)
    }

    /// Where its memory lies.
    pub(super) fn place(&self) -> (usize, usize) {
        self.buffer.place()
    }

    /// Writes what stands before all chunks.
    pub(super) fn begin<T: IntoBytes + Immutable>(&mut self, header: &T) {
        let words = put(self.buffer.slice_mut(), 0, header);
        self.write(words);
    }

    /// Adds an item, and what follows it.
    pub(super) fn item<T: IntoBytes + Immutable>(&mut self, kind: ChunkKind, item: &T, tail: &[u64]) {
        self.make_room(kind, size_of::<T>() / WORD + tail.len());
        let at = put(self.buffer.slice_mut(), self.used, item);
        self.buffer.slice_mut()[at..at + tail.len()].copy_from_slice(tail);
        self.used = at + tail.len();
        self.count += 1;
    }

    /// Adds a block, whose pointers are to follow.
    pub(super) fn block(&mut self, block: &Block) {
        self.begin_block(block, 0);
    }

    fn begin_block(&mut self, block: &Block, goes_on: u32) {
        self.make_room(ChunkKind::Block, BLOCK_WORDS + POINTER_WORDS);
        let (start, bytes) = (block.start as u64, block.bytes as u64);
        let record = BlockRecord { start, bytes, pointers: 0, goes_on };
        self.block_at = self.used;
        self.used = put(self.buffer.slice_mut(), self.used, &record);
        self.count += 1;
    }

    /// Adds a pointer of the last block.
    pub(super) fn pointer(&mut self, block: &Block, pointer: &PointerRecord) {
        if self.used + POINTER_WORDS > CHUNK_WORDS {
            self.begin_block(block, 1);
        }
        self.used = put(self.buffer.slice_mut(), self.used, pointer);
        // The record's last word: the lower half is how many follow.
        self.buffer.slice_mut()[self.block_at + BLOCK_WORDS - 1] += 1;
    }

    /// So many bytes were looked at.
    pub(super) fn note_seen(&mut self, bytes: usize) {
        self.seen_bytes += bytes;
        if self.seen_bytes >= BYTES_PER_LOOK {
            self.seen_bytes = 0;
            self.end_unless(self.sink.go_on());
        }
    }

    /// Writes what is left, and says that it is all.
    pub(super) fn end(mut self) -> ! {
        self.flush();
        self.sink.end();
        end_image()
    }

    /// It can't be finished.
    pub(super) fn refuse(&self, reason: Refusal) -> ! {
        self.sink.refuse(reason);
        end_image()
    }

    fn make_room(&mut self, kind: ChunkKind, words: usize) {
        if kind != self.kind || self.used + words > CHUNK_WORDS {
            self.flush();
            self.kind = kind;
        }
    }

    fn flush(&mut self) {
        if self.count == 0 {
            return;
        }
        let bytes = ((self.used - HEADER_WORDS) * WORD) as u32;
        let header = ChunkHeader { magic: CHUNK_MAGIC, kind: self.kind as u32, bytes, count: self.count };
        put(self.buffer.slice_mut(), 0, &header);
        self.write(self.used);
        (self.used, self.count) = (HEADER_WORDS, 0);
    }

    fn write(&mut self, words: usize) {
        let written = self.sink.write(&self.buffer.slice()[..words]);
        self.end_unless(written);
    }

    fn end_unless(&self, is_wanted: bool) {
        if !is_wanted {
            end_image();
        }
    }
}

/// Copies an item of whole words to a place in a buffer; gives the place behind it.
fn put<T: IntoBytes + Immutable>(words: &mut [u64], at: usize, item: &T) -> usize {
    const { assert!(size_of::<T>().is_multiple_of(WORD)) };
    let end = at + size_of::<T>() / WORD;
    words[at..end].as_mut_bytes().copy_from_slice(item.as_bytes());
    end
}
