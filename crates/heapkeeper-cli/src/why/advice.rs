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
        Kind::Live => "live blocks",
        Kind::Rounding => "live blocks, what they are rounded up by",
        Kind::Retained if facts.is_mode(Mode::Quarantine) => "freed blocks in quarantine",
        Kind::Retained => "freed blocks that are kept",
        Kind::FreeBlocks => "free blocks among live ones (fragmentation)",
        Kind::ThreadCaches => "free blocks that threads have at hand",
        Kind::FreeSpans => "free memory, not given back yet",
        Kind::Guards => "guarded blocks' pages beyond their bytes",
        Kind::Own => "heapkeeper: tables, recording, library",
        Kind::Brk => "memory by brk",
        Kind::Anonymous => "other mappings without a file (mmap)",
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
            "sizes of blocks: every 16 bytes, above 128 every eighth of a doubling"
                .into()
        }
        Kind::Retained if facts.is_mode(Mode::Quarantine) => {
            format!(
                "reused once a sweep finds no pointer to them; `heapkeeper dangling {}` tells which are left",
                facts.pid
            )
        }
        Kind::Retained => "mode keep never reuses a block: for finding bugs, not for good".into(),
        Kind::FreeBlocks if heap.sparse_spans > 0 => format!(
            "{} of {} are less than a quarter live: `heapkeeper retained {}` tells whose blocks keep them",
            heap.sparse_spans,
            count(heap.spans, "span"),
            facts.pid
        ),
        Kind::FreeBlocks => "reused by allocations of the same sizes".into(),
        Kind::ThreadCaches => "the next allocations of the same sizes take them".into(),
        Kind::FreeSpans => {
            "goes back by itself once purge-delay-ms have passed and the heap is called; at once by malloc_trim(0)"
                .into()
        }
        Kind::Guards => guards(facts),
        Kind::Own => "grows with the heap, threads, and stacks of guarded blocks".into(),
        Kind::Brk => "the program or another allocator in it calls sbrk".into(),
        Kind::Anonymous => format!(
            "of the program or another allocator; the largest: {} at {:#x}",
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
        0 | 1 => format!("{blocks}, each with pages of its own; fewer with --guard 1/N"),
        every => format!("{blocks}, each with pages of its own (--guard 1/{every})"),
    }
}
