//! Names of the places where pointers stand, by the program's types: `conn_table[12]`, `->session`.
//!
//! Types follow pointers: a variable's type says what kind of block its pointer leads to, that block's type names the pointers in it, and so on. A
//! type ends the way where it says too little (`void *`, a number) or contradicts what is there.

mod read;

use crate::elf::Image;
use crate::module::Files;
use crate::search::DebugFolders;
use read::{Shape, TypeId, Types};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Types in types are followed so deep.
const DEPTH_MAX: u32 = 32;

/// The type that a pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointee {
    module: usize,
    id: TypeId,
}

/// A place that is a pointer by its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerPlace {
    /// How it is written in the program: `[12]` or `.head` behind a variable's name, `->session` or `[3].key` behind a pointer's.
    pub text: String,
    /// What it leads to; None where the type does not say.
    pub pointee: Option<Pointee>,
}

/// The types of modules, each read when it is asked for.
#[derive(Default)]
pub struct AllTypes {
    numbers: HashMap<(PathBuf, Vec<u8>), usize>,
    /// None where a module has no debug information.
    modules: Vec<Option<Types>>,
}

impl AllTypes {
    /// The pointer at an address of a module's file, in a variable that has an address there.
    pub fn in_variable(
        &mut self,
        path: &Path,
        build_id: &[u8],
        folders: &DebugFolders,
        address: u64,
    ) -> Option<PointerPlace> {
        let key = (path.to_path_buf(), build_id.to_vec());
        let modules = &mut self.modules;
        let module = *self.numbers.entry(key).or_insert_with(|| {
            modules.push(load(path, build_id, folders));
            modules.len() - 1
        });
        let types = self.modules[module].as_ref()?;
        let (start, of) = types.variable(address)?;
        types.pointer_at(module, of, address - start, DEPTH_MAX)
    }

    /// The pointer at an offset in a block of so many bytes that a pointer of this type leads to.
    pub fn in_block(&self, of: Pointee, bytes: u64, offset: u64) -> Option<PointerPlace> {
        let types = self.modules[of.module].as_ref()?;
        let size = types.size(of.id, DEPTH_MAX).filter(|&size| 0 < size && size <= bytes)?;
        let is_in_tail = offset >= size && types.has_open_end(of.id);
        // A block that is larger than its type is an array of them.
        let (index, rest) = if is_in_tail { (0, offset) } else { (offset / size, offset % size) };
        let place = types.pointer_at(of.module, of.id, rest, DEPTH_MAX)?;
        let text = match place.text.strip_prefix('.') {
            Some(member) if index == 0 => format!("->{member}"),
            _ => format!("[{index}]{}", place.text),
        };
        Some(PointerPlace { text, ..place })
    }
}

fn load(path: &Path, build_id: &[u8], folders: &DebugFolders) -> Option<Types> {
    let Files { image, debug, .. } = Files::find(path, build_id, folders);
    let source = debug.as_ref().or(image.as_ref()).filter(|image| image.has_debug_info());
    source.and_then(Image::dwarf).map(Types::read)
}

impl Types {
    fn pointer_at(&self, module: usize, of: TypeId, offset: u64, depth: u32) -> Option<PointerPlace> {
        let depth = depth.checked_sub(1)?;
        let within = |id: TypeId, rest: u64, prefix: &str| {
            let place = self.pointer_at(module, id, rest, depth)?;
            Some(PointerPlace { text: format!("{prefix}{}", place.text), ..place })
        };
        match self.shape(of)? {
            Shape::Pointer(pointee) => {
                let pointee = pointee.map(|id| Pointee { module, id });
                (offset == 0).then_some(PointerPlace { text: String::new(), pointee })
            }
            Shape::Record(members) => members.iter().find_map(|member| {
                let rest = offset.checked_sub(member.offset)?;
                let is_inside = member.is_open || rest < self.size(member.of, depth)?;
                // A base class has no name of its own.
                let prefix = member.name.as_ref().map_or(String::new(), |name| format!(".{name}"));
                if is_inside { within(member.of, rest, &prefix) } else { None }
            }),
            Shape::Array { element, lengths } => {
                let size = self.size(element, depth).filter(|&size| size > 0)?;
                let mut indices = String::new();
                let mut index = offset / size;
                // All but the first are bounded: `[2][3]` is two rows of three.
                let inner = lengths.get(1..).unwrap_or_default();
                for at in 0..lengths.len() {
                    let row: u64 = inner.get(at..)?.iter().product();
                    indices.push_str(&format!("[{}]", index.checked_div(row)?));
                    index %= row;
                }
                within(element, offset % size, &indices)
            }
        }
    }
}
