//! What lies at an address of a module's data: its variables by the symbol table, its sections.

use crate::elf::Symbol;
use crate::module::Files;
use crate::name;
use crate::search::DebugFolders;
use std::path::{Path, PathBuf};

/// What lies at an address in a module's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Demangled name; None where no symbol tells.
    pub name: Option<String>,
    /// Bytes from the variable's start; of one that is not known from the start of the module's addresses.
    pub offset: u64,
    /// The section, as `.bss`.
    pub section: Option<String>,
    /// Path of the module.
    pub module: PathBuf,
}

/// Variables and sections of one module, read once.
pub struct Data {
    variables: Vec<Symbol>,
    sections: Vec<Symbol>,
}

impl Data {
    /// Reads what can be found for a module with this path and build id (empty: unknown).
    pub fn load(path: &Path, build_id: &[u8], folders: &DebugFolders) -> Data {
        let Files { image, debug, .. } = Files::find(path, build_id, folders);
        let mut variables =
            debug.as_ref().or(image.as_ref()).map(|file| file.variables()).unwrap_or_default();
        if variables.is_empty() {
            variables = image.as_ref().map(|file| file.variables()).unwrap_or_default();
        }
        let sections = image.as_ref().or(debug.as_ref()).map(|file| file.sections()).unwrap_or_default();
        Data { variables, sections }
    }

    /// What lies at an address of the file, in a module of this path.
    pub fn variable(&self, address: u64, module: &Path) -> Variable {
        let symbol = containing(&self.variables, address);
        Variable {
            name: symbol.map(|symbol| name::demangle(&symbol.name)),
            offset: address - symbol.map_or(0, |symbol| symbol.start),
            section: containing(&self.sections, address).map(|section| section.name.clone()),
            module: module.to_path_buf(),
        }
    }
}

/// The one that an address lies in. Variables may lie in each other: the one that begins last is meant.
fn containing(symbols: &[Symbol], address: u64) -> Option<&Symbol> {
    let after = symbols.partition_point(|symbol| symbol.start <= address);
    // Aliases of a variable stand side by side.
    symbols[..after].iter().rev().take(NEAR_MAX).find(|symbol| address - symbol.start < symbol.bytes)
}

/// So many symbols before an address are looked at.
const NEAR_MAX: usize = 16;
