//! Which pages of a process are in memory (pagemap, Documentation/admin-guide/mm/pagemap.rst).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const PAGE_BYTES: u64 = 4096;
const ENTRY_BYTES: u64 = 8;
/// In an entry: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// Bytes of entries that are read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Runs of pages that are in memory, by address.
#[derive(Debug, Default)]
pub struct Present {
    pagemap: Option<File>,
    runs: Vec<(u64, u64)>,
}

impl Present {
    /// Nothing yet of a process.
    pub fn open(pid: u32) -> io::Result<Present> {
        let pagemap = Some(File::open(format!("/proc/{pid}/pagemap"))?);
        Ok(Present { pagemap, runs: Vec::new() })
    }

    /// Asks for the pages of a mapping, which lies behind all that came before.
    pub fn add(&mut self, start: u64, end: u64) -> io::Result<()> {
        let Some(pagemap) = &self.pagemap else { return Ok(()) };
        let mut entries = vec![0; PIECE_BYTES as usize];
        let mut page = start / PAGE_BYTES;
        while page < end / PAGE_BYTES {
            let wanted = PIECE_BYTES.min((end / PAGE_BYTES - page) * ENTRY_BYTES) as usize;
            let came = pagemap.read_at(&mut entries[..wanted], page * ENTRY_BYTES)?;
            if came < ENTRY_BYTES as usize {
                break;
            }
            for entry in entries[..came].chunks_exact(ENTRY_BYTES as usize) {
                let entry = u64::from_ne_bytes(entry.try_into().expect("a chunk of that size"));
                if entry & PRESENT != 0 {
                    push(&mut self.runs, page * PAGE_BYTES);
                }
                page += 1;
            }
        }
        Ok(())
    }

    /// How many bytes between two addresses are in memory.
    pub fn bytes(&self, start: u64, end: u64) -> u64 {
        let first = self.runs.partition_point(|&(_, run_end)| run_end <= start);
        let inside = self.runs[first..].iter().take_while(|&&(run, _)| run < end);
        inside.map(|&(run, run_end)| run_end.min(end) - run.max(start)).sum()
    }
}

/// One more page behind the others.
fn push(runs: &mut Vec<(u64, u64)>, page: u64) {
    match runs.last_mut() {
        Some((_, end)) if *end == page => *end += PAGE_BYTES,
        _ => runs.push((page, page + PAGE_BYTES)),
    }
}

#[cfg(test)]
impl Present {
    /// With these pages, by their numbers.
    pub fn of_pages(pages: &[u64]) -> Present {
        let mut present = Present::default();
        pages.iter().for_each(|page| push(&mut present.runs, page * PAGE_BYTES));
        present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_runs_are_counted() {
        let present = Present::of_pages(&[2, 3, 4, 7]);
        assert_eq!(present.runs, [(2 << 12, 5 << 12), (7 << 12, 8 << 12)]);
        assert_eq!(present.bytes(0, u64::MAX), 4 << 12);
        assert_eq!(present.bytes((3 << 12) + 96, (7 << 12) + 4), (2 << 12) - 96 + 4);
        assert_eq!((present.bytes(5 << 12, 7 << 12), present.bytes(0, 1)), (0, 0));
    }

    #[test]
    fn own_pages_are_in_memory() {
        let page = vec![7_u8; 3 * PAGE_BYTES as usize];
        let start = (page.as_ptr().addr() as u64).next_multiple_of(PAGE_BYTES);
        let mut present = Present::open(std::process::id()).unwrap();
        present.add(start, start + PAGE_BYTES).unwrap();
        assert_eq!(present.bytes(start, start + PAGE_BYTES), PAGE_BYTES);
    }
}
