//! Which module a program counter lies in, without the loader's lock.
//!
//! `dl_iterate_phdr` takes a lock that another thread may hold while it waits for this one. glibc 2.35 and
//! later has a function that takes none ([`loader`]); elsewhere, /proc/self/maps tells the same, slower.
#![allow(unsafe_code, reason = "views the mapped unwind tables")]

use super::cfi::{TableBytes, Tables};
use super::elf::{PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, ProgramHeader, ProgramHeaders};
use super::loader;
use crate::maps;
use crate::probe::Probe;
use crate::sys;
use hk_format::PAGE_BYTES;

const NT_GNU_BUILD_ID: u32 = 3;
/// Notes that are looked at in one segment.
const NOTES_MAX: usize = 16;
/// Bytes kept of a build id.
const BUILD_ID_BYTES: usize = 32;

/// A loaded module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// First mapped address: where the ELF header lies.
    pub(super) start: u64,
    /// End of its mappings.
    pub(super) end: u64,
    /// The segment that it was found by.
    pub(super) segment: (u64, u64),
    /// What the loader added to the addresses in the file.
    pub(super) bias: u64,
    /// Address of `.eh_frame_hdr`, 0 if there is none.
    pub(super) eh_frame_hdr: u64,
    /// Address of the path that the loader keeps; 0 if the module was found by its mappings.
    pub(super) loader_path: u64,
}

impl Module {
    /// The module at `pc`.
    pub(super) fn find(pc: u64) -> Option<Module> {
        if loader::can_be_asked() { Module::by_loader(pc) } else { Module::by_maps(pc) }
    }

    /// The module that this code is linked into.
    pub(super) fn own() -> Option<Module> {
        Module::find(Module::own as fn() -> Option<Module> as usize as u64)
    }

    /// Whether this is the program's loader (ld.so).
    pub(super) fn is_loader(&self) -> bool {
        self.start == auxiliary_value(libc::AT_BASE)
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// The module at `address`, as the loader knows it; None also if the loader cannot be asked.
    pub(super) fn by_loader(address: u64) -> Option<Module> {
        let found = loader::find_object(address)?;
        let mut probe = Probe::default();
        // `struct link_map` begins with l_addr and l_name; both are part of the loader's public interface.
        let bias = probe.word(found.link_map)?;
        let loader_path = probe.word(found.link_map + 8)?;
        // glibc gives the range of a single segment where there are gaps between segments (as in programs
        // that are linked for huge pages). Then the file begins at its bias, which the program itself may
        // lack: its program headers are in its first page.
        let (start, header) = [found.map_start, bias, program_start()].into_iter().find_map(|start| {
            let mut headers = ProgramHeaders::at(start, &mut probe)?;
            Some((start, headers.find(|header| header.covers(bias, address))?))
        })?;
        let segment = header.range(bias);
        let (end, eh_frame_hdr) = (found.map_end, found.eh_frame_hdr);
        let mut module = Module { start, end, segment, bias, eh_frame_hdr, loader_path };
        module.end = module.end_of_segments(&mut probe);
        Some(module)
    }

    /// The module at `address`, by the mappings of its file.
    pub(super) fn by_maps(address: u64) -> Option<Module> {
        Module::of_file(maps::file_start(address)?, address)
    }

    /// The module whose file is mapped at `start`, found by `address` in it.
    pub(super) fn of_file(start: u64, address: u64) -> Option<Module> {
        let segment = (0, 0);
        let mut module = Module { start, end: start, segment, bias: 0, eh_frame_hdr: 0, loader_path: 0 };
        let mut probe = Probe::default();
        let mut headers = module.program_headers(&mut probe);
        let first = headers.clone().find(|header| header.kind == PT_LOAD)?;
        module.bias = start.wrapping_sub(first.address - first.address % PAGE_BYTES as u64);
        module.end = module.end_of_segments(&mut probe);
        if let Some(header) = headers.clone().find(|header| header.covers(module.bias, address)) {
            module.segment = header.range(module.bias);
        }
        if let Some(tables) = headers.find(|header| header.kind == PT_GNU_EH_FRAME) {
            module.eh_frame_hdr = module.bias.wrapping_add(tables.address);
        }
        Some(module)
    }

    /// The unwind tables, if the module has them.
    pub(super) fn unwind_tables(&self, probe: &mut Probe) -> Option<Tables> {
        self.table_bytes(probe).and_then(TableBytes::parse)
    }

    /// Where the unwind tables lie, if the module has them.
    pub(super) fn table_bytes(&self, probe: &mut Probe) -> Option<TableBytes> {
        let header = self.eh_frame_hdr;
        if header == 0 {
            return None;
        }
        let bytes = self.segment_from(header, probe)?;
        TableBytes::new(header, bytes, |address| self.segment_from(address, probe))
    }

    /// The mapped bytes from `address` to the end of its segment, if that is one of constants.
    fn segment_from(&self, address: u64, probe: &mut Probe) -> Option<&'static [u8]> {
        let segment = self
            .program_headers(probe)
            .find(|header| header.covers(self.bias, address) && header.flags & 0b110 == 0b100)?;
        let end = self.bias.wrapping_add(segment.address).checked_add(segment.file_bytes)?;
        let readable = self.contains(address) && end <= self.end && probe.word(address).is_some();
        let len = usize::try_from(end.checked_sub(address)?).ok()?;
        // SAFETY: a readable segment that is mapped by the loader from a file, and not writable, so that it
        // does not change; it stays mapped as long as frames of its code are on this thread's stack.
        readable.then(|| unsafe { core::slice::from_raw_parts(address as usize as *const u8, len) })
    }

    /// Puts the path as the loader knows it, or else as the kernel does, into `buffer`; gives its length: 0
    /// for the program itself. A path that does not fit is cut.
    pub(super) fn path(&self, buffer: &mut [u8], probe: &mut Probe) -> usize {
        let mut len = 0;
        while len < buffer.len() && self.loader_path != 0 {
            match probe.byte(self.loader_path + len as u64) {
                None | Some(0) => break,
                Some(byte) => buffer[len] = byte,
            }
            len += 1;
        }
        let is_program = self.loader_path != 0 && len == 0;
        if is_program || buffer.first() == Some(&b'/') && len > 0 {
            return len;
        }
        // Relative to a folder that the program may have left since: the kernel knows the whole path.
        let place = maps::describe_place(self.start);
        let path = place.name();
        if path.first() == Some(&b'/') || len == 0 {
            len = path.len().min(buffer.len());
            buffer[..len].copy_from_slice(&path[..len]);
        }
        len
    }

    /// Puts the GNU build id into `buffer`; gives its length, 0 if there is none.
    pub(super) fn build_id(&self, buffer: &mut [u8; BUILD_ID_BYTES], probe: &mut Probe) -> usize {
        self.program_headers(probe)
            .filter(|header| header.kind == PT_NOTE)
            .find_map(|header| self.build_id_in(&header, buffer, probe))
            .unwrap_or(0)
    }

    fn build_id_in(
        &self,
        notes: &ProgramHeader,
        buffer: &mut [u8; BUILD_ID_BYTES],
        probe: &mut Probe,
    ) -> Option<usize> {
        let mut at = self.bias.wrapping_add(notes.address);
        let end = at.checked_add(notes.file_bytes)?;
        let align = if notes.align == 8 { 8 } else { 4 };
        for _ in 0..NOTES_MAX {
            if at + 16 > end {
                return None;
            }
            let (name_bytes, bytes, kind) = (probe.half(at)?, probe.half(at + 4)?, probe.half(at + 8)?);
            let contents = at + (12 + u64::from(name_bytes)).next_multiple_of(align);
            if kind == NT_GNU_BUILD_ID
                && name_bytes == 4
                && probe.half(at + 12)? == u32::from_le_bytes(*b"GNU\0")
            {
                let len = (bytes as usize).min(BUILD_ID_BYTES);
                for (i, byte) in buffer[..len].iter_mut().enumerate() {
                    *byte = probe.byte(contents + i as u64)?;
                }
                return Some(len);
            }
            at = contents + u64::from(bytes).next_multiple_of(align);
        }
        None
    }

    fn end_of_segments(&self, probe: &mut Probe) -> u64 {
        self.program_headers(probe)
            .filter(|header| header.kind == PT_LOAD)
            .map(|header| self.bias.wrapping_add(header.address).wrapping_add(header.memory_bytes))
            .fold(self.end, u64::max)
    }

    fn program_headers(&self, probe: &mut Probe) -> ProgramHeaders {
        ProgramHeaders::at(self.start, probe).unwrap_or_default()
    }
}

/// Where the program's own file is mapped, if its program headers are in its first page as usual.
fn program_start() -> u64 {
    let headers = auxiliary_value(libc::AT_PHDR);
    headers - headers % PAGE_BYTES as u64
}

/// What the kernel told the process at its start.
fn auxiliary_value(kind: libc::c_ulong) -> u64 {
    // SAFETY: takes any number; sets errno only for kinds that the kernel did not pass, and these it does.
    unsafe { libc::getauxval(kind) }
}

/// The program's path, in `buffer`; empty if /proc does not tell.
pub(super) fn program_path(buffer: &mut [u8]) -> &[u8] {
    let len = sys::read_link(c"/proc/self/exe", buffer).unwrap_or(0).min(buffer.len());
    &buffer[..len]
}
