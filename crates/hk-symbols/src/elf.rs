//! One ELF file, read piece by piece: only the parts that are asked for come into memory.

use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a section, shared by everything that parses them.
pub type Bytes = gimli::EndianArcSlice<gimli::RunTimeEndian>;

/// A function or variable of a symbol table, or a section, in file addresses.
#[derive(Clone, Debug)]
pub struct Symbol {
    pub start: u64,
    /// Zero where the table does not say.
    pub bytes: u64,
    pub name: String,
}

/// An ELF file that could be opened and parsed.
pub struct Image {
    path: PathBuf,
    cache: ReadCache<File>,
}

impl Image {
    /// None if there is no such regular file, or it is not ELF.
    pub fn open(path: &Path) -> Option<Image> {
        // Opening a FIFO would wait for a writer.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let image = Image { path: path.to_path_buf(), cache: ReadCache::new(File::open(path).ok()?) };
        image.parse()?;
        Some(image)
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn parse(&self) -> Option<object::File<'_, &ReadCache<File>>> {
        object::File::parse(&self.cache).ok()
    }

    /// The GNU build id; empty if there is none.
    pub fn build_id(&self) -> Vec<u8> {
        let id = self.parse().and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
        id.unwrap_or_default()
    }

    /// Name and CRC of the separate debug file.
    pub fn debug_link(&self) -> Option<(Vec<u8>, u32)> {
        let file = self.parse()?;
        let (name, crc) = file.gnu_debuglink().ok().flatten()?;
        Some((name.to_vec(), crc))
    }

    /// Name and build id of the file that holds what several debug files have in common.
    pub fn supplement(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let file = self.parse()?;
        let (name, build_id) = file.gnu_debugaltlink().ok().flatten()?;
        Some((name.to_vec(), build_id.to_vec()))
    }

    /// Whether the file itself has DWARF.
    pub fn has_debug_info(&self) -> bool {
        let section = self.parse().and_then(|file| {
            let section = file.section_by_name(".debug_info")?;
            // A stripped file may keep an empty section without data.
            section.file_range().filter(|&(_, bytes)| bytes > 0)
        });
        section.is_some()
    }

    /// The DWARF sections, uncompressed.
    pub fn dwarf(&self) -> Option<gimli::Dwarf<Bytes>> {
        let file = self.parse()?;
        let endian = match file.is_little_endian() {
            true => gimli::RunTimeEndian::Little,
            false => gimli::RunTimeEndian::Big,
        };
        gimli::Dwarf::load(|id| {
            let data = file.section_by_name(id.name()).map(|section| section.uncompressed_data());
            // A section that cannot be read is as good as none: the others still serve.
            let data = data.and_then(Result::ok).unwrap_or_default();
            Ok::<_, gimli::Error>(Bytes::new(Arc::from(&data[..]), endian))
        })
        .ok()
    }

    /// The functions of `.symtab`, or of `.dynsym` where that was stripped, by address.
    pub fn functions(&self) -> Vec<Symbol> {
        let Some(file) = self.parse() else { return Vec::new() };
        let mut functions: Vec<Symbol> =
            file.symbols().filter_map(|s| symbol_of(&s, SymbolKind::Text)).collect();
        if functions.is_empty() {
            functions = file.dynamic_symbols().filter_map(|s| symbol_of(&s, SymbolKind::Text)).collect();
        }
        functions.sort_by_key(|symbol| symbol.start);
        functions
    }

    /// The variables of `.symtab`, or of `.dynsym` where that was stripped, by address. Those that each thread has its own of have no address.
    pub fn variables(&self) -> Vec<Symbol> {
        let Some(file) = self.parse() else { return Vec::new() };
        let mut variables: Vec<Symbol> =
            file.symbols().filter_map(|s| symbol_of(&s, SymbolKind::Data)).collect();
        if variables.is_empty() {
            variables = file.dynamic_symbols().filter_map(|s| symbol_of(&s, SymbolKind::Data)).collect();
        }
        variables.sort_by_key(|symbol| symbol.start);
        variables
    }

    /// The sections that lie in memory, by address.
    pub fn sections(&self) -> Vec<Symbol> {
        let Some(file) = self.parse() else { return Vec::new() };
        let of = |section: object::Section<'_, '_, &ReadCache<File>>| {
            let name = section.name().ok()?.to_owned();
            let is_mapped = section.address() != 0 && section.size() != 0;
            // Each thread has its own, elsewhere.
            let is_shared = !matches!(section.kind(), SectionKind::Tls | SectionKind::UninitializedTls);
            (is_mapped && is_shared).then(|| Symbol { start: section.address(), bytes: section.size(), name })
        };
        let mut sections: Vec<Symbol> = file.sections().filter_map(of).collect();
        sections.sort_by_key(|section| section.start);
        sections
    }

    /// The CRC that a debug link gives of its file.
    pub fn crc(&self) -> Option<u32> {
        std::fs::read(&self.path).ok().map(|bytes| crc32(&bytes))
    }
}

fn symbol_of<'data>(symbol: &impl ObjectSymbol<'data>, kind: SymbolKind) -> Option<Symbol> {
    if symbol.kind() != kind || symbol.is_undefined() {
        return None;
    }
    let name = symbol.name().ok().filter(|name| !name.is_empty())?;
    Some(Symbol { start: symbol.address(), bytes: symbol.size(), name: name.to_owned() })
}

/// The checksum of zlib and of debug links.
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|n| {
        (0..8).fold(n as u32, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    !bytes.iter().fold(!0u32, |crc, &byte| table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_no_elf_file_is_not_opened() {
        assert!(Image::open(Path::new("/etc/passwd")).is_none());
        assert!(Image::open(Path::new("/dev/null")).is_none());
        assert!(Image::open(Path::new("/no/such/file")).is_none());
    }
}
