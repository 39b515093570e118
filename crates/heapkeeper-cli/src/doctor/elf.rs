//! What an ELF file says about itself, as far as the doctor asks.

use super::signs;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, PT_INTERP, SHT_NOBITS};
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader};
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeSet;
use std::path::Path;

/// The first bytes of every ELF file, decoded; enough to know whether the rest can be read by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ident {
    /// 32 or 64; 0 if the file says neither.
    pub bits: u8,
    /// e_machine.
    pub machine: u16,
}

/// The machine that this command, and with it the library, was built for.
pub const OUR_MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

impl Ident {
    /// Reads the head of a file; None if it is no ELF file.
    pub fn read(head: &[u8]) -> Option<Ident> {
        if !head.starts_with(b"\x7fELF") || head.len() < 20 {
            return None;
        }
        let machine = [head[18], head[19]];
        let machine = if head[5] == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
        Some(Ident { bits: [0, 32, 64].get(usize::from(head[4])).copied().unwrap_or(0), machine })
    }

    /// Whether the library can be loaded into such a program.
    pub fn is_ours(self) -> bool {
        self.bits == 64 && self.machine == OUR_MACHINE
    }

    /// The machine's name.
    pub fn machine_name(self) -> String {
        match self.machine {
            3 => "i386".into(),
            8 => "MIPS".into(),
            21 => "PowerPC 64".into(),
            22 => "S/390".into(),
            40 => "ARM".into(),
            62 => "x86-64".into(),
            183 => "AArch64".into(),
            243 => "RISC-V".into(),
            other => format!("machine {other}"),
        }
    }
}

/// One program or shared library.
#[derive(Debug, Default)]
pub struct Elf {
    /// The loader it asks for (PT_INTERP); None: static, or a library.
    pub interpreter: Option<String>,
    /// The libraries it asks for (DT_NEEDED).
    pub needed: Vec<String>,
    /// Where they are looked for before LD_LIBRARY_PATH (DT_RPATH).
    pub rpath: Vec<String>,
    /// Where they are looked for after it (DT_RUNPATH).
    pub runpath: Vec<String>,
    /// The GNU build id, in hexadecimal.
    pub build_id: Option<String>,
    /// Whether it has a table of all symbols (.symtab).
    pub has_symbols: bool,
    /// Signs of allocators and runtimes among the symbols that it defines: [`signs`] knows them.
    pub defined: BTreeSet<&'static str>,
    /// The functions of [`signs::MALLOC_FUNCTIONS`] that it defines and shows to other modules.
    pub exported: BTreeSet<&'static str>,
    /// The functions of [`signs::MALLOC_FUNCTIONS`] that it takes from elsewhere.
    pub imported: BTreeSet<&'static str>,
    /// Signs among its read-only strings: hints only, the strings may be there for another reason.
    pub hinted: BTreeSet<&'static str>,
    /// Whether the Go toolchain made it.
    pub is_go: bool,
}

impl Elf {
    /// Reads a file for our machine. The error says what is wrong with it.
    pub fn read(path: &Path) -> Result<Elf, String> {
        let data = std::fs::read(path).map_err(|error| error.to_string())?;
        Elf::parse(&data).map_err(|error| error.to_string())
    }

    fn parse(data: &[u8]) -> object::Result<Elf> {
        let file: ElfFile64<'_, LittleEndian> = ElfFile64::parse(data)?;
        let mut elf = Elf { interpreter: interpreter(&file)?, ..Elf::default() };
        elf.read_dynamic(&file)?;
        elf.read_sections(&file)?;
        elf.read_symbols(&file);
        Ok(elf)
    }

    fn read_dynamic(&mut self, file: &ElfFile64<'_, LittleEndian>) -> object::Result<()> {
        let table = file.elf_dynamic_table()?;
        for entry in &table {
            let list = match entry.tag {
                DT_NEEDED => &mut self.needed,
                DT_RPATH => &mut self.rpath,
                DT_RUNPATH => &mut self.runpath,
                _ => continue,
            };
            let text = String::from_utf8_lossy(table.string(entry)?).into_owned();
            match entry.tag {
                DT_NEEDED => list.push(text),
                _ => list.extend(text.split(':').map(str::to_owned)),
            }
        }
        Ok(())
    }

    fn read_sections(&mut self, file: &ElfFile64<'_, LittleEndian>) -> object::Result<()> {
        self.build_id = file.build_id()?.map(hk_symbols::hex);
        for section in file.sections() {
            let Ok(name) = section.name() else { continue };
            let filled =
                section.elf_section_header().sh_type(LittleEndian) != SHT_NOBITS && section.size() > 0;
            match name {
                ".symtab" => self.has_symbols |= filled,
                ".go.buildinfo" | ".note.go.buildid" => self.is_go = true,
                ".rodata" => self.hinted = signs::in_text(section.data().unwrap_or_default()),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_symbols(&mut self, file: &ElfFile64<'_, LittleEndian>) {
        for symbol in file.dynamic_symbols() {
            let Ok(name) = symbol.name() else { continue };
            if let Some(function) = signs::malloc_function(name) {
                if symbol.is_undefined() { &mut self.imported } else { &mut self.exported }.insert(function);
            }
        }
        for symbol in file.symbols().chain(file.dynamic_symbols()).filter(|symbol| !symbol.is_undefined()) {
            let Ok(name) = symbol.name() else { continue };
            self.defined.extend(signs::of_symbol(name));
            self.defined.extend(signs::malloc_function(name));
        }
    }

    /// Whether it defines a function of the malloc family itself.
    pub fn defines(&self, function: &str) -> bool {
        self.defined.contains(function)
    }
}

fn interpreter(file: &ElfFile64<'_, LittleEndian>) -> object::Result<Option<String>> {
    for segment in file.elf_program_headers() {
        if ProgramHeader::p_type(segment, LittleEndian) == PT_INTERP {
            let path = segment.interpreter(LittleEndian, file.data())?.unwrap_or_default();
            return Ok(Some(String::from_utf8_lossy(path).into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_head_of_any_class_and_order() {
        let mut head = [0; 20];
        assert_eq!(Ident::read(&head), None);
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 62;
        assert_eq!(Ident::read(&head), Some(Ident { bits: 64, machine: 62 }));
        head[4..6].copy_from_slice(&[1, 2]);
        head[18..].copy_from_slice(&[0, 20]);
        let big = Ident::read(&head).unwrap();
        assert_eq!(big, Ident { bits: 32, machine: 20 });
        assert!(!big.is_ours());
        assert_eq!(big.machine_name(), "machine 20");
        assert_eq!(Ident::read(&head[..19]), None);
    }

    #[test]
    fn reads_the_running_test_program() {
        let elf = Elf::read(Path::new("/proc/self/exe")).unwrap();
        assert!(elf.interpreter.is_some_and(|path| path.contains("ld-")));
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.so")));
        assert!(elf.imported.contains("malloc") && !elf.defined.contains("malloc"));
        assert!(elf.has_symbols);
        assert!(Elf::parse(b"\x7fELF but no more").is_err());
    }
    #[test]
    fn damaged_files_give_errors_and_no_panics() {
        let sound = std::fs::read("/bin/sh").unwrap();
        assert!(Elf::parse(&sound).is_ok());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut errors = 0;
        for _ in 0..400 {
            let mut data = sound.clone();
            for _ in 0..8 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Where a few bytes matter: the head with the segments, or the tail with the sections.
                let near = (random >> 33) as usize % 2048;
                let at = if random & 1 << 32 == 0 { near } else { data.len() - 1 - near };
                data[at] ^= 1 << (random >> 60 & 7);
            }
            data.truncate(data.len() - (random >> 20 & 1) as usize * 1000);
            errors += usize::from(Elf::parse(&data).is_err());
        }
        assert!(errors > 20, "{errors} errors: the damage hits nothing");
    }
}
