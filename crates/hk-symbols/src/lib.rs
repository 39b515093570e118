//! Modules and raw program counters in, functions with inlined frames, files and lines out.
//!
//! The program under test records nothing but addresses and build ids; everything that needs debug
//! information happens here, outside of it. A pc goes through three stages, each a fall-back of the one
//! before it:
//!
//! 1. DWARF, of the module itself or of a separate debug file found by build id or debug link: function,
//!    inlined callers, file, line.
//! 2. The ELF symbol table: function and offset.
//! 3. The module and the offset in it.
//!
//! A file is only believed if it still has the build id that was recorded: a program that was rebuilt
//! since would otherwise give wrong lines, which are worse than none.

mod data;
mod elf;
mod module;
mod name;
mod search;
mod site;
mod types;

pub use data::Variable;
pub use name::{demangle, short_name};
pub use search::DebugFolders;
pub use site::{SiteError, find_site};
pub use types::{Pointee, PointerPlace};

use data::Data;
use module::Module;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A module as it was loaded into the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleSpec {
    /// The file, as the loader knew it.
    pub path: PathBuf,
    /// GNU build id as mapped; empty if the module has none.
    pub build_id: Vec<u8>,
    /// What the loader added to the file's addresses.
    pub bias: u64,
    /// First mapped address.
    pub start: u64,
    /// End of the mapping.
    pub end: u64,
}

/// One line of a stack. Inlined functions have lines of their own, with the pc of the call they stand in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Demangled name.
    pub function: Option<String>,
    /// Bytes from the function's start, where the name comes from a symbol table.
    pub function_offset: Option<u64>,
    /// Source file.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Whether the compiler inlined this function into the next frame's.
    pub inlined: bool,
    /// Path of the module.
    pub module: Option<PathBuf>,
    /// `pc` as an address in the module's file.
    pub module_offset: Option<u64>,
    /// The return address as recorded.
    pub pc: u64,
}

/// A module that frames lie in and that has no usable debug information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDebugInfo {
    /// Path of the module.
    pub path: PathBuf,
    /// The build id by which a debug file could be found; empty if there is none.
    pub build_id: Vec<u8>,
    /// Why there are no lines.
    pub why: Why,
}

/// Why a module gives no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Neither the file nor the debug folders have any.
    NoDebugInfo,
    /// The file is gone or cannot be read.
    Unreadable,
    /// The file on disk is another build than the one that ran.
    OtherBuild,
    /// The kernel's own module, which is no file.
    Virtual,
}

impl Why {
    /// A few words for a person.
    pub const fn text(self) -> &'static str {
        match self {
            Why::NoDebugInfo => "no debug information",
            Why::Unreadable => "the file is gone or cannot be read",
            Why::OtherBuild => "the file was replaced by another build since",
            Why::Virtual => "a module of the kernel",
        }
    }
}

/// Resolves addresses; keeps what it has read of each module.
#[derive(Default)]
pub struct Symbolizer {
    folders: DebugFolders,
    modules: HashMap<(PathBuf, Vec<u8>), Module>,
    data: HashMap<(PathBuf, Vec<u8>), Data>,
    types: types::AllTypes,
}

impl Symbolizer {
    /// One that looks for debug files in the usual folders.
    pub fn new() -> Self {
        Symbolizer::default()
    }

    /// One that looks for debug files in the given folders alone.
    pub fn with_folders(folders: DebugFolders) -> Self {
        Symbolizer { folders, ..Symbolizer::default() }
    }

    /// The frames of one return address, innermost first: inlined functions, then the one they are in.
    /// Never empty: at worst the frame has nothing but the pc.
    pub fn frames(&mut self, modules: &[ModuleSpec], pc: u64) -> Vec<Frame> {
        // A return address may be the first byte of the next line or function: the call is before it.
        let call = pc.saturating_sub(1);
        let Some(spec) = modules.iter().find(|m| m.start <= call && call < m.end) else {
            return vec![Frame { pc, ..Frame::default() }];
        };
        let offset = pc.wrapping_sub(spec.bias);
        let module = self.module(spec);
        let mut frames = module.lookup(call.wrapping_sub(spec.bias));
        for frame in &mut frames {
            frame.module = Some(spec.path.clone());
            frame.module_offset = Some(offset);
            frame.pc = pc;
        }
        frames
    }

    /// What lies at an address in a module's data; None if it lies in no module.
    pub fn variable(&mut self, modules: &[ModuleSpec], address: u64) -> Option<Variable> {
        let spec = modules.iter().find(|m| m.start <= address && address < m.end)?;
        let key = (spec.path.clone(), spec.build_id.clone());
        let load = || Data::load(&spec.path, &spec.build_id, &self.folders);
        let data = self.data.entry(key).or_insert_with(load);
        Some(data.variable(address.wrapping_sub(spec.bias), &spec.path))
    }

    /// The pointer at an address in a module's data, if by the program's types one stands there.
    pub fn pointer_in_variable(&mut self, modules: &[ModuleSpec], address: u64) -> Option<PointerPlace> {
        let spec = modules.iter().find(|m| m.start <= address && address < m.end)?;
        let address = address.wrapping_sub(spec.bias);
        self.types.in_variable(&spec.path, &spec.build_id, &self.folders, address)
    }

    /// The pointer at an offset in a block of so many bytes that a pointer of a known type leads to, if by that type one stands there. Blocks that are
    /// larger than the type are taken for arrays.
    pub fn pointer_in_block(&self, of: Pointee, bytes: u64, offset: u64) -> Option<PointerPlace> {
        self.types.in_block(of, bytes, offset)
    }

    /// The modules looked up so far that gave no lines, by path.
    pub fn missing(&self) -> Vec<MissingDebugInfo> {
        let mut missing: Vec<_> = self
            .modules
            .iter()
            .filter_map(|((path, build_id), module)| {
                Some(MissingDebugInfo { path: path.clone(), build_id: build_id.clone(), why: module.why()? })
            })
            .collect();
        missing.sort_by(|a, b| a.path.cmp(&b.path));
        missing
    }

    fn module(&mut self, spec: &ModuleSpec) -> &Module {
        let key = (spec.path.clone(), spec.build_id.clone());
        self.modules.entry(key).or_insert_with(|| Module::load(&spec.path, &spec.build_id, &self.folders))
    }
}

/// Where debug information for a file would come from: for `heapkeeper doctor`.
/// `Ok(path)` is the file that has it (the file itself or a separate one).
pub fn find_debug_info(path: &Path, folders: &DebugFolders) -> Result<PathBuf, MissingDebugInfo> {
    let missing = |build_id: Vec<u8>, why| MissingDebugInfo { path: path.to_path_buf(), build_id, why };
    let image = elf::Image::open(path).ok_or_else(|| missing(Vec::new(), Why::Unreadable))?;
    let build_id = image.build_id();
    if image.has_debug_info() {
        return Ok(path.to_path_buf());
    }
    search::debug_file(Some(&image), path, &build_id, folders)
        .map(|debug| debug.path().to_path_buf())
        .ok_or_else(|| missing(build_id, Why::NoDebugInfo))
}

/// A build id as it is usually written.
pub fn hex(build_id: &[u8]) -> String {
    build_id.iter().map(|byte| format!("{byte:02x}")).collect()
}
