//! Which module a program counter lies in, without the loader's lock.
//!
//! `dl_iterate_phdr` takes a lock that another thread may hold while it waits for this one. glibc 2.35 and
//! later has `_dl_find_object`, which takes none; it is referred to weakly, so that the library also loads
//! where it is missing. There, /proc/self/maps tells the same, slower.
#![allow(unsafe_code, reason = "calls the loader and views the mapped unwind tables")]

use super::cfi::Tables;
use crate::maps;
use crate::probe::Probe;
use crate::sys;
use core::arch::asm;
use core::mem::MaybeUninit;
use hk_format::PAGE_BYTES;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const NT_GNU_BUILD_ID: u32 = 3;
/// Size of a program header in bytes.
const PROGRAM_HEADER_BYTES: u64 = 56;
/// Program headers that are looked at: real modules have some ten to twenty.
const PROGRAM_HEADERS_MAX: u64 = 64;
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
    /// What the loader added to the addresses in the file.
    pub(super) bias: u64,
    /// Address of `.eh_frame_hdr`, 0 if there is none.
    pub(super) eh_frame_hdr: u64,
    /// Address of the path that the loader keeps; 0 if the module was found by its mappings.
    pub(super) loader_path: u64,
}

/// glibc's `struct dl_find_object` on x86-64.
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: u64,
    map_end: u64,
    link_map: u64,
    eh_frame: u64,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(address: u64, result: *mut FoundObject) -> i32;

impl Module {
    /// The module at `pc`.
    pub(super) fn find(pc: u64) -> Option<Module> {
        if find_object().is_some() { Module::by_loader(pc) } else { Module::by_maps(pc) }
    }

    /// The module that this code is linked into.
    pub(super) fn own() -> Option<Module> {
        Module::find(Module::own as fn() -> Option<Module> as usize as u64)
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// The module at `address`, as the loader knows it; None also if the loader cannot be asked.
    pub(super) fn by_loader(address: u64) -> Option<Module> {
        let find = find_object()?;
        let mut found = MaybeUninit::<FoundObject>::zeroed();
        // SAFETY: the function has glibc's signature, takes any address, and writes one object at most.
        let result = unsafe { find(address, found.as_mut_ptr()) };
        // SAFETY: zeroed above, and any integers are valid.
        let found = unsafe { found.assume_init() };
        if result != 0 {
            return None;
        }
        let mut probe = Probe::default();
        // `struct link_map` begins with l_addr and l_name; both are part of the loader's public interface.
        let bias = probe.word(found.link_map)?;
        let loader_path = probe.word(found.link_map + 8)?;
        let (start, end, eh_frame_hdr) = (found.map_start, found.map_end, found.eh_frame);
        Some(Module { start, end, bias, eh_frame_hdr, loader_path })
    }

    /// The module at `address`, by the mappings of its file.
    pub(super) fn by_maps(address: u64) -> Option<Module> {
        let start = maps::file_start(address)?;
        let mut module = Module { start, end: start, bias: 0, eh_frame_hdr: 0, loader_path: 0 };
        let mut probe = Probe::default();
        let first = module.program_header(&mut probe, |header| header.kind == PT_LOAD)?;
        module.bias = start.wrapping_sub(first.address - first.address % PAGE_BYTES as u64);
        for index in 0..PROGRAM_HEADERS_MAX {
            let Some(header) = module.program_header_at(index, &mut probe) else { break };
            if header.kind == PT_LOAD {
                let end = module.bias.wrapping_add(header.address).wrapping_add(header.memory_bytes);
                module.end = module.end.max(end);
            }
        }
        if let Some(tables) = module.program_header(&mut probe, |header| header.kind == PT_GNU_EH_FRAME) {
            module.eh_frame_hdr = module.bias.wrapping_add(tables.address);
        }
        Some(module)
    }

    /// The unwind tables, if the module has them.
    pub(super) fn unwind_tables(&self, probe: &mut Probe) -> Option<Tables> {
        let header = self.eh_frame_hdr;
        if header == 0 {
            return None;
        }
        Tables::new(
            header,
            self.segment_from(header, probe)?,
            |address, probe| self.segment_from(address, probe),
            probe,
        )
    }

    /// The mapped bytes from `address` to the end of its segment, if that is one of constants.
    fn segment_from(&self, address: u64, probe: &mut Probe) -> Option<&'static [u8]> {
        let segment = self.program_header(probe, |header| {
            let start = self.bias.wrapping_add(header.address);
            let inside = address.wrapping_sub(start) < header.file_bytes;
            header.kind == PT_LOAD && inside && header.flags & 0b110 == 0b100
        })?;
        let end = self.bias.wrapping_add(segment.address).checked_add(segment.file_bytes)?;
        let readable = self.contains(address) && end <= self.end && probe.word(address).is_some();
        let len = usize::try_from(end - address).ok()?;
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
        for index in 0..PROGRAM_HEADERS_MAX {
            let Some(header) = self.program_header_at(index, probe) else { break };
            if header.kind == PT_NOTE
                && let Some(len) = self.build_id_in(&header, buffer, probe)
            {
                return len;
            }
        }
        0
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

    fn program_header(
        &self,
        probe: &mut Probe,
        wanted: impl Fn(&ProgramHeader) -> bool,
    ) -> Option<ProgramHeader> {
        (0..PROGRAM_HEADERS_MAX)
            .map_while(|index| self.program_header_at(index, probe))
            .find(|header| wanted(header))
    }

    fn program_header_at(&self, index: u64, probe: &mut Probe) -> Option<ProgramHeader> {
        const ELF_MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
        let entry_bytes_and_count = probe.half(self.start + 54)?;
        let is_elf = probe.half(self.start)? == ELF_MAGIC;
        let entry_bytes = u64::from(entry_bytes_and_count & 0xffff);
        let count = u64::from(entry_bytes_and_count >> 16);
        if !is_elf || entry_bytes != PROGRAM_HEADER_BYTES || index >= count {
            return None;
        }
        let at = self.start.wrapping_add(probe.word(self.start + 32)?) + index * entry_bytes;
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
struct ProgramHeader {
    kind: u32,
    /// 1 executable, 2 writable, 4 readable.
    flags: u32,
    /// In the file's own numbering.
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
    align: u64,
}

/// The program's path, in `buffer`; empty if /proc does not tell.
pub(super) fn program_path(buffer: &mut [u8]) -> &[u8] {
    let len = sys::read_link(c"/proc/self/exe", buffer).unwrap_or(0).min(buffer.len());
    &buffer[..len]
}

/// `_dl_find_object`, where there is one.
fn find_object() -> Option<FindObject> {
    let address: usize;
    // SAFETY: loads the symbol's entry of the global offset table: its address, or 0 if it is undefined.
    unsafe {
        asm!(
            ".weak _dl_find_object",
            "mov {}, qword ptr [rip + _dl_find_object@GOTPCREL]",
            out(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    // SAFETY: 0 becomes None; anything else is glibc's function, which has this signature.
    unsafe { core::mem::transmute::<usize, Option<FindObject>>(address) }
}
