//! Program headers of ELF files, as they are mapped.

use crate::probe::Probe;
use hk_format::PAGE_BYTES;

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_NOTE: u32 = 4;
pub(super) const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// Size of a program header in bytes.
const PROGRAM_HEADER_BYTES: u64 = 56;
/// Program headers that are looked at: real modules have some ten to twenty.
const PROGRAM_HEADERS_MAX: u64 = 64;

/// The program headers of a mapped ELF file.
#[derive(Clone, Default)]
pub(super) struct ProgramHeaders {
    next: u64,
    rest: u64,
    probe: Probe,
}

impl ProgramHeaders {
    /// Those of the file that is mapped at `start`, if there is one.
    pub(super) fn at(start: u64, probe: &mut Probe) -> Option<ProgramHeaders> {
        const ELF_MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
        if probe.half(start)? != ELF_MAGIC {
            return None;
        }
        let entry_bytes_and_count = probe.half(start.checked_add(54)?)?;
        let (entry_bytes, count) = (entry_bytes_and_count & 0xffff, entry_bytes_and_count >> 16);
        let next = start.checked_add(probe.word(start + 32)?)?;
        let rest = u64::from(count).min(PROGRAM_HEADERS_MAX);
        (u64::from(entry_bytes) == PROGRAM_HEADER_BYTES).then_some(ProgramHeaders {
            next,
            rest,
            probe: *probe,
        })
    }
}

impl Iterator for ProgramHeaders {
    type Item = ProgramHeader;
    fn next(&mut self) -> Option<ProgramHeader> {
        self.rest = self.rest.checked_sub(1)?;
        let at = self.next;
        self.next = at.checked_add(PROGRAM_HEADER_BYTES)?;
        let probe = &mut self.probe;
        Some(ProgramHeader {
            kind: probe.half(at)?,
            flags: probe.half(at + 4)?,
            address: probe.word(at + 16)?,
            file_bytes: probe.word(at + 32)?,
            memory_bytes: probe.word(at + 40)?,
            align: probe.word(at + 48)?,
        })
    }
}

/// What is needed of an ELF program header.
pub(super) struct ProgramHeader {
    pub(super) kind: u32,
    /// 1 executable, 2 writable, 4 readable.
    pub(super) flags: u32,
    /// In the file's own numbering.
    pub(super) address: u64,
    pub(super) file_bytes: u64,
    pub(super) memory_bytes: u64,
    pub(super) align: u64,
}

impl ProgramHeader {
    /// Where the segment is mapped, of a file mapped with `bias`.
    pub(super) fn range(&self, bias: u64) -> (u64, u64) {
        let start = bias.wrapping_add(self.address);
        (start, start.saturating_add(self.memory_bytes))
    }

    /// Whether this is the segment at `address`, of a file mapped with `bias`. Zeroed data and the rest of
    /// the last page are part of it.
    pub(super) fn covers(&self, bias: u64, address: u64) -> bool {
        let (start, end) = self.range(bias);
        let end = end.checked_next_multiple_of(PAGE_BYTES as u64);
        self.kind == PT_LOAD && start <= address && end.is_some_and(|end| address < end)
    }
}
