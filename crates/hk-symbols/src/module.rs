//! What is known of one module: DWARF, or a symbol table, or neither.

use crate::elf::{Bytes, Image, Symbol};
use crate::search::{self, DebugFolders};
use crate::{Frame, Why, name};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest chain of inlined functions that is followed: a bound against damaged DWARF.
const INLINE_DEPTH_MAX: usize = 256;

/// The files that a module's symbols come from.
pub struct Files {
    /// The module's own, if it is the build that ran.
    pub image: Option<Image>,
    /// A separate debug file, where the module has no debug information itself.
    pub debug: Option<Image>,
    /// The module's file is another build.
    pub other_build: bool,
}

impl Files {
    /// Opens what there is for a module with this path and build id (empty: unknown).
    pub fn find(path: &Path, build_id: &[u8], folders: &DebugFolders) -> Files {
        let on_disk = Image::open(path);
        let other_build = on_disk.as_ref().is_some_and(|image| !same_build(&image.build_id(), build_id));
        let image = on_disk.filter(|_| !other_build);
        // The debug folders may still have the build that ran, though its file is gone.
        let debug = match &image {
            Some(image) if image.has_debug_info() => None,
            image => search::debug_file(image.as_ref(), path, build_id, folders),
        };
        Files { image, debug, other_build }
    }
}

/// One module, read once.
pub struct Module {
    dwarf: Option<addr2line::Context<Bytes>>,
    functions: Vec<Symbol>,
    why: Option<Why>,
}

impl Module {
    /// Reads what can be found for a module with this path and build id (empty: unknown).
    pub fn load(path: &Path, build_id: &[u8], folders: &DebugFolders) -> Module {
        if is_virtual(path) {
            return Module { dwarf: None, functions: Vec::new(), why: Some(Why::Virtual) };
        }
        let Files { image, debug, other_build } = Files::find(path, build_id, folders);
        let source = debug.as_ref().or(image.as_ref());
        let dwarf = source.filter(|image| image.has_debug_info()).and_then(|image| context(image, folders));
        let mut functions = source.map(Image::functions).unwrap_or_default();
        if functions.is_empty() {
            functions = image.as_ref().map(Image::functions).unwrap_or_default();
        }
        let why = match (&dwarf, &image) {
            (Some(_), _) => None,
            (None, _) if other_build => Some(Why::OtherBuild),
            (None, None) => Some(Why::Unreadable),
            (None, Some(_)) => Some(Why::NoDebugInfo),
        };
        Module { dwarf, functions, why }
    }

    /// Why it gives no lines; None if it does.
    pub fn why(&self) -> Option<Why> {
        self.why
    }

    /// The frames at an address of the file, innermost first; never empty.
    pub fn lookup(&self, address: u64) -> Vec<Frame> {
        let mut frames = self.dwarf_frames(address).unwrap_or_default();
        if frames.is_empty() {
            frames.push(Frame::default());
        }
        let outermost = frames.last_mut().expect("just filled");
        let is_known = outermost.function.is_some();
        // GCC's DWARF calls every lambda so, and gives no linker's name.
        let is_lambda = outermost.function.as_deref() == Some("operator()");
        if (!is_known || is_lambda)
            && let Some(symbol) = self.symbol(address)
        {
            outermost.function = Some(name::demangle(&symbol.name));
            outermost.function_offset = (!is_known).then_some(address - symbol.start);
        }
        frames
    }

    fn dwarf_frames(&self, address: u64) -> Option<Vec<Frame>> {
        let mut found = self.dwarf.as_ref()?.find_frames(address).skip_all_loads().ok()?;
        let mut frames: Vec<Frame> = Vec::new();
        while let Ok(Some(frame)) = found.next() {
            if let Some(inner) = frames.last_mut() {
                inner.inlined = true;
            }
            let location = frame.location;
            frames.push(Frame {
                function: frame.function.and_then(|f| Some(name::demangle(&f.raw_name().ok()?))),
                file: location.as_ref().and_then(|l| l.file).map(str::to_owned),
                // DWARF writes 0 for code that no line stands for.
                line: location.as_ref().and_then(|l| l.line).filter(|&line| line != 0),
                ..Frame::default()
            });
            if frames.len() == INLINE_DEPTH_MAX {
                break;
            }
        }
        Some(frames)
    }

    fn symbol(&self, address: u64) -> Option<&Symbol> {
        let after = self.functions.partition_point(|symbol| symbol.start <= address);
        let candidate = self.functions[..after].last()?;
        // Hand-written code often has no size: it then reaches up to the next symbol.
        let inside = candidate.bytes == 0 || address - candidate.start < candidate.bytes;
        inside.then_some(candidate)
    }
}

fn context(image: &Image, folders: &DebugFolders) -> Option<addr2line::Context<Bytes>> {
    let mut dwarf = image.dwarf()?;
    if let Some(shared) = search::supplement(image, folders).and_then(|found| found.dwarf()) {
        dwarf.set_sup(shared);
    }
    addr2line::Context::from_dwarf(dwarf).ok()
}

/// A recorded build id that is empty could not be compared, and is believed.
fn same_build(on_disk: &[u8], recorded: &[u8]) -> bool {
    recorded.is_empty() || on_disk == recorded
}

fn is_virtual(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = OsStr::as_bytes(name);
        name.starts_with(b"linux-vdso") || name.starts_with(b"linux-gate") || name == b"[vdso]"
    })
}
