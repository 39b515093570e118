//! What there is to say about each part: what it is, and what can be done about it.

use super::account::{Kind, Part};
use super::heap::HeapUse;
use hk_format::{Mode, SnapshotHeader};
use hk_report::{bytes, count};

/// What advice is made of.
pub struct Facts<'a> {
    /// The process, as it is known here.
    pub pid: u32,
    /// The heap's part.
    pub heap: &'a HeapUse,
    /// Threads that were seen.
    pub threads: u64,
    /// Mode, and how much is sampled.
    pub header: &'a SnapshotHeader,
}

impl Facts<'_> {
    fn is_mode(&self, mode: Mode) -> bool {
        Mode::from_number(self.header.mode).is_some_and(|present| present == mode)
    }
}

/// What a part is.
pub fn title(kind: Kind, facts: &Facts<'_>) -> String {
    let title = match kind {
        Kind::Live if facts.heap.rounding.is_some() => "live blocks, as requested",
        Kind::Live => "live blocks, as rounded",
        Kind::Rounding => "live blocks, what they are rounded up by",
        Kind::Retained if facts.is_mode(Mode::Quarantine) => "freed blocks in quarantine",
        Kind::Retained => "freed blocks that are kept",
        Kind::FreeBlocks => "free blocks among live ones (fragmentation)",
        Kind::ThreadCaches => "free blocks that threads have at hand",
        Kind::FreeSpans => "free memory, not given back yet",
        Kind::Guards => "guarded blocks' pages beyond their bytes",
        Kind::Own => "heapkeeper: tables, recording, library",
        Kind::Brk => "memory by brk",
        Kind::Anonymous => "other mappings without a file",
        Kind::Stacks => "thread stacks",
        Kind::ModuleData => "data of program and libraries",
        Kind::ModuleCode => "code and constants of program and libraries",
        Kind::File => "mapped file",
        Kind::FileCopies => "mapped file, pages written to",
        Kind::Shared => "shared memory",
        Kind::Meanwhile => "changed meanwhile",
    };
    title.into()
}

/// What can be done about a part, or why that is as it is.
pub fn advice(kind: Kind, part: &Part, facts: &Facts<'_>) -> String {
    let heap = facts.heap;
    match kind {
        Kind::Live => {
            format!("`heapkeeper retained {}` tells which variables and sites hold them", facts.pid)
        }
        Kind::Rounding => {
            "sizes go in steps of 16 bytes, above 128 in eighths of a doubling: sizes just above a step"
                .into()
        }
        Kind::Retained if facts.is_mode(Mode::Quarantine) => {
            "wait until no pointer to them is left; `heapkeeper dangling` tells what points to them".into()
        }
        Kind::Retained => "mode keep never reuses a block: for finding bugs, not for good".into(),
        Kind::FreeBlocks if heap.sparse_spans > 0 => format!(
            "{} of {} are less than a quarter live; `heapkeeper retained {}` tells whose blocks stay",
            heap.sparse_spans,
            count(heap.spans, "span"),
            facts.pid
        ),
        Kind::FreeBlocks => "reused by allocations of the same sizes".into(),
        Kind::ThreadCaches => "the next allocations of the same sizes take them".into(),
        Kind::FreeSpans => {
            "goes back purge-delay-ms after the free, when the heap is called; at once by malloc_trim(0)"
                .into()
        }
        Kind::Guards => guards(facts),
        Kind::Own => "grows with the heap, threads, and stacks of guarded blocks".into(),
        Kind::Brk => "the program or another allocator in it calls sbrk".into(),
        Kind::Anonymous => format!(
            "{} by the program or another allocator (mmap), the largest has {} at {:#x}",
            mapping_count(part),
            bytes(part.largest.0),
            part.largest.1
        ),
        Kind::Stacks => {
            format!("of {}; pages once touched stay until a thread ends", count(facts.threads, "thread"))
        }
        Kind::ModuleData => "written to, so this process's alone".into(),
        Kind::ModuleCode => "page cache, shared with whoever runs the same files".into(),
        Kind::File => "page cache, which the system takes back when memory is short".into(),
        Kind::FileCopies => "this process's alone, until it unmaps the file".into(),
        Kind::Shared => {
            "counts in each process that maps it, and stays while a name or mapping is left".into()
        }
        Kind::Meanwhile => "the program went on while this was looked at: look again".into(),
    }
}

fn guards(facts: &Facts<'_>) -> String {
    let blocks = count(facts.heap.guarded_blocks, "guarded block");
    match facts.header.every {
        0 => format!("{blocks}, each with pages of its own"),
        every => format!("{blocks}, each with pages of its own; one in {every} is (--guard)"),
    }
}

fn mapping_count(part: &Part) -> String {
    count(part.mappings, "mapping")
}
