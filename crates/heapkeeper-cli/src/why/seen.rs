//! What the system tells of a process's memory: its mappings with what is resident of each, and which pages that is.

use super::present::Present;
use crate::Failure;
use std::fs;
use std::io::ErrorKind;

/// A mapping without a file that is larger than this and not the heap's is not looked at page by page: 32 MiB of answers from the system.
const PAGED_BYTES_MAX: u64 = 16 << 30;

/// A mapping of which something is resident (proc(5), smaps).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// Whether a file, or shared memory, is behind it.
    pub has_file: bool,
    /// The file, or a name in brackets; empty if it has none.
    pub name: String,
    /// Whether writes are seen by others.
    pub is_shared: bool,
    /// Bytes that are in memory.
    pub resident: u64,
    /// Bytes of these that are no file's (any more).
    pub anonymous: u64,
    /// Whether it is known which pages are resident.
    pub is_paged: bool,
}

/// One look at a process.
#[derive(Debug, Default)]
pub struct Seen {
    /// Mappings of which something is resident, by address.
    pub mappings: Vec<Mapping>,
    /// Resident pages of those that are paged.
    pub present: Present,
    /// Bytes that are swapped out.
    pub swapped: u64,
    /// Bytes of page tables.
    pub page_tables: u64,
}

impl Seen {
    /// Looks at a process whose heap lies in a range of addresses.
    pub fn look(pid: u32, heap: (u64, u64)) -> Result<Seen, Failure> {
        let text = read(pid, "smaps")?;
        let (mut mappings, swapped) = parse(&text);
        let mut present = Present::open(pid).map_err(|error| failure(pid, "pagemap", &error))?;
        for mapping in mappings.iter_mut().filter(|mapping| !mapping.has_file) {
            let is_heap = mapping.start < heap.1 && heap.0 < mapping.end;
            mapping.is_paged = is_heap || mapping.end - mapping.start <= PAGED_BYTES_MAX;
            if mapping.is_paged {
                let added = present.add(mapping.start, mapping.end);
                added.map_err(|error| failure(pid, "pagemap", &error))?;
            }
        }
        let status = read(pid, "status")?;
        let page_tables = status.lines().find_map(|line| kilobytes(line, "VmPTE:")).unwrap_or(0);
        Ok(Seen { mappings, present, swapped, page_tables })
    }

    /// All that is resident, as smaps_rollup sums it.
    pub fn resident(&self) -> u64 {
        self.mappings.iter().map(|mapping| mapping.resident).sum()
    }
}

fn read(pid: u32, name: &str) -> Result<String, Failure> {
    let bytes = fs::read(format!("/proc/{pid}/{name}")).map_err(|error| failure(pid, name, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn failure(pid: u32, name: &str, error: &std::io::Error) -> Failure {
    Failure::new(match error.kind() {
        ErrorKind::NotFound => format!("process {pid} has ended"),
        _ => format!("cannot tell what is resident of {pid}: /proc/{pid}/{name}: {error}"),
    })
}

/// The mappings of which something is resident, and what is swapped out of all.
fn parse(smaps: &str) -> (Vec<Mapping>, u64) {
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut swapped = 0;
    for line in smaps.lines() {
        if let Some(mapping) = head(line) {
            mappings.push(mapping);
        } else if let Some(mapping) = mappings.last_mut() {
            match () {
                () if line.starts_with("Rss:") => mapping.resident = kilobytes(line, "Rss:").unwrap_or(0),
                () if line.starts_with("Anonymous:") => {
                    mapping.anonymous = kilobytes(line, "Anonymous:").unwrap_or(0);
                }
                () => swapped += kilobytes(line, "Swap:").unwrap_or(0),
            }
        }
    }
    mappings.retain(|mapping| mapping.resident > 0);
    (mappings, swapped)
}

/// A line as /proc/PID/maps has it.
fn head(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |digits| u64::from_str_radix(digits, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let is_shared = fields.next()?.ends_with('s');
    let inode = fields.nth(2)?;
    let name = fields.next().unwrap_or_default().trim_start().to_owned();
    Some(Mapping { start, end, has_file: inode != "0", name, is_shared, ..Mapping::default() })
}

/// `Rss:       1234 kB`, in bytes.
fn kilobytes(line: &str, name: &str) -> Option<u64> {
    let number = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_those_that_have_memory() {
        let smaps = "55d0-55d8 rw-s 00000000 00:2a 77                 /run/a b\n\
            Size:                 32 kB\nRss:                   8 kB\nAnonymous:             4 kB\nSwap:      12 kB\n\
            55e0-55e8 rw-p 00000000 00:00 0 \nRss:                   0 kB\nSwap:       4 kB\nVmFlags: rd wr\n\
            55f0-55f8 rw-p 00000000 00:00 0                          [anon:arena 1]\nRss:       4 kB\n";
        let (mappings, swapped) = parse(smaps);
        assert_eq!(swapped, 16 << 10);
        let file = Mapping {
            start: 0x55d0,
            end: 0x55d8,
            has_file: true,
            name: "/run/a b".into(),
            is_shared: true,
            resident: 8 << 10,
            anonymous: 4 << 10,
            is_paged: false,
        };
        let named = Mapping {
            start: 0x55f0,
            end: 0x55f8,
            name: "[anon:arena 1]".into(),
            resident: 4 << 10,
            ..Mapping::default()
        };
        assert_eq!(mappings, [file, named]);
    }
}
