//! How the area is cut.
//!
//! ```text
//! area    | kinds | chunk 0 | chunk 1 | ...                     4 MiB each
//! chunk   | slots' records: 8 pages | guard page | slot | slot | ...
//! slot    | data pages | guard page |
//! ```
//!
//! A chunk has slots of one size. What comes before a slot's data pages is inaccessible too: the guard page of the slot before it, or that
//! behind the records. A block that is larger than a chunk has a run of chunks to itself. The kinds say of each chunk what it is.

/// The page size of x86-64.
pub const PAGE_BYTES: usize = 4096;
/// See the module head.
pub const CHUNK_BYTES: usize = 4 << 20;
const CHUNK_PAGES: usize = CHUNK_BYTES / PAGE_BYTES;
/// Room for records, which a slot can have in a chunk: 64 bytes each.
pub const SLOTS_PER_CHUNK_MAX: usize = 512;
/// Pages of records.
pub const RECORD_PAGES: usize = SLOTS_PER_CHUNK_MAX * 64 / PAGE_BYTES;
/// The first page of slots: one guard page behind the records.
const FIRST_PAGE: usize = RECORD_PAGES + 1;

/// Data pages of the slot sizes: the last of a chunk's size is all that a chunk has room for.
pub const DATA_PAGES: [usize; 18] =
    [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 252, 336, CHUNK_PAGES - FIRST_PAGE - 1];
/// Number of slot sizes within a chunk.
pub const SIZE_COUNT: usize = DATA_PAGES.len();

/// The size of slot that has so many data pages, if one in a chunk has.
pub fn size_of_pages(pages: usize) -> Option<usize> {
    DATA_PAGES.iter().position(|&data| data >= pages)
}

/// Slots of a size in a chunk.
pub const fn slots_per_chunk(size: usize) -> usize {
    let slots = (CHUNK_PAGES - FIRST_PAGE) / (DATA_PAGES[size] + 1);
    if slots < SLOTS_PER_CHUNK_MAX { slots } else { SLOTS_PER_CHUNK_MAX }
}

/// Chunks of a run whose one slot has so many data pages.
pub fn chunks_of_run(pages: usize) -> usize {
    (FIRST_PAGE + pages + 1).div_ceil(CHUNK_PAGES)
}

/// What a chunk is, as one word; zero: not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not in use (yet).
    Unused,
    /// Cut into slots of this size.
    Slots(usize),
    /// The first of a run of so many chunks.
    Run(usize),
    /// In a run that begins so many chunks before.
    Inside(usize),
}

const RUN: u32 = 1 << 30;
const INSIDE: u32 = 1 << 31;

impl Kind {
    /// As a word.
    pub fn to_word(self) -> u32 {
        match self {
            Kind::Unused => 0,
            Kind::Slots(size) => size as u32 + 1,
            Kind::Run(chunks) => RUN | chunks as u32,
            Kind::Inside(back) => INSIDE | back as u32,
        }
    }

    /// From a word.
    pub fn from_word(word: u32) -> Kind {
        match word {
            0 => Kind::Unused,
            word if word & INSIDE != 0 => Kind::Inside((word & !INSIDE) as usize),
            word if word & RUN != 0 => Kind::Run((word & !RUN) as usize),
            word => Kind::Slots(word as usize - 1),
        }
    }
}

/// Offsets in an area, from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    chunks_start: usize,
    chunk_count: usize,
}

/// The data pages of a slot, as offsets in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// First byte.
    pub start: usize,
    /// End: there the slot's guard page begins.
    pub end: usize,
}

impl Layout {
    /// The layout of an area of `bytes`; None if not even one chunk fits.
    pub fn of(bytes: usize) -> Option<Layout> {
        let chunks_start = (bytes.div_ceil(CHUNK_BYTES) * size_of::<u32>()).next_multiple_of(PAGE_BYTES);
        let chunk_count = bytes.checked_sub(chunks_start)? / CHUNK_BYTES;
        // Slots are numbered in 32 bits, and 0 is none.
        let chunk_count = chunk_count.min((u32::MAX as usize - 1) / SLOTS_PER_CHUNK_MAX);
        (chunk_count > 0).then_some(Layout { chunks_start, chunk_count })
    }

    /// How many chunks there are.
    pub fn chunk_count(&self) -> usize {
        self.chunk_count
    }

    /// Where a chunk begins.
    pub fn chunk_start(&self, chunk: usize) -> usize {
        self.chunks_start + chunk * CHUNK_BYTES
    }

    /// The chunk that an offset lies in.
    pub fn chunk_of(&self, offset: usize) -> Option<usize> {
        let chunk = offset.checked_sub(self.chunks_start)? / CHUNK_BYTES;
        (chunk < self.chunk_count).then_some(chunk)
    }

    /// The pages of a chunk that are not records.
    pub fn pages_of_chunk(&self, chunk: usize) -> Data {
        let start = self.chunk_start(chunk);
        Data { start: start + RECORD_PAGES * PAGE_BYTES, end: start + CHUNK_BYTES }
    }

    /// The data pages of a slot of a chunk of that kind. None if there is no such slot.
    pub fn data(&self, chunk: usize, kind: Kind, index: usize) -> Option<Data> {
        let first = self.chunk_start(chunk) + FIRST_PAGE * PAGE_BYTES;
        match kind {
            Kind::Slots(size) if index < slots_per_chunk(size) => {
                let pages = DATA_PAGES[size];
                let start = first + index * (pages + 1) * PAGE_BYTES;
                Some(Data { start, end: start + pages * PAGE_BYTES })
            }
            Kind::Run(chunks) if index == 0 => {
                Some(Data { start: first, end: self.chunk_start(chunk + chunks) - PAGE_BYTES })
            }
            _ => None,
        }
    }

    /// The slot that an offset lies in, its guard page included: chunk and index. None before the first slot, and behind the last.
    pub fn slot_at(&self, offset: usize, kind_of: impl Fn(usize) -> Kind) -> Option<(usize, Kind, usize)> {
        let mut chunk = self.chunk_of(offset)?;
        let mut kind = kind_of(chunk);
        if let Kind::Inside(back) = kind {
            chunk = chunk.checked_sub(back)?;
            kind = kind_of(chunk);
        }
        let from_first = offset.checked_sub(self.chunk_start(chunk) + FIRST_PAGE * PAGE_BYTES)?;
        match kind {
            Kind::Slots(size) => {
                let index = from_first / PAGE_BYTES / (DATA_PAGES[size] + 1);
                (index < slots_per_chunk(size)).then_some((chunk, kind, index))
            }
            Kind::Run(_) => Some((chunk, kind, 0)),
            Kind::Unused | Kind::Inside(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_a_chunk_leads_to_its_slot() {
        let layout = Layout::of(64 << 20).unwrap();
        for size in 0..SIZE_COUNT {
            let kind = Kind::Slots(size);
            for index in 0..slots_per_chunk(size) {
                let data = layout.data(1, kind, index).unwrap();
                assert!(data.end + PAGE_BYTES <= layout.chunk_start(2));
                assert!(data.start > layout.pages_of_chunk(1).start);
                // The guard page behind belongs to it.
                for offset in [data.start, data.end - 1, data.end, data.end + PAGE_BYTES - 1] {
                    assert_eq!(layout.slot_at(offset, |_| kind), Some((1, kind, index)));
                }
            }
            assert!(layout.data(1, kind, slots_per_chunk(size)).is_none());
        }
    }

    #[test]
    fn a_run_is_one_slot() {
        let layout = Layout::of(64 << 20).unwrap();
        let pages = 3000;
        let chunks = chunks_of_run(pages);
        let kinds = |chunk| match chunk {
            2 => Kind::Run(chunks),
            chunk if chunk > 2 && chunk < 2 + chunks => Kind::Inside(chunk - 2),
            _ => Kind::Unused,
        };
        let data = layout.data(2, Kind::Run(chunks), 0).unwrap();
        assert!(
            data.end - data.start >= pages * PAGE_BYTES
                && data.end - data.start < pages * PAGE_BYTES + CHUNK_BYTES
        );
        for offset in [data.start, data.end - 1, data.end] {
            assert_eq!(layout.slot_at(offset, kinds), Some((2, Kind::Run(chunks), 0)));
        }
        for kind in [Kind::Unused, Kind::Slots(3), Kind::Run(7), Kind::Inside(9)] {
            assert_eq!(Kind::from_word(kind.to_word()), kind);
        }
    }

    #[test]
    fn an_area_without_room_has_no_layout() {
        assert_eq!(Layout::of(0), None);
        assert_eq!(Layout::of(CHUNK_BYTES), None);
        assert_eq!(Layout::of(CHUNK_BYTES + PAGE_BYTES).unwrap().chunk_count(), 1);
    }
}
