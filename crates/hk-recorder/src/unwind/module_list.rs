//! The modules that a finding's frames lie in, as its record keeps them.

use super::module::Module;
use crate::mapping::Mapping;
use crate::probe::Probe;
use hk_format::{MODULE_AREA_BYTES, ModuleHeader};
use zerocopy::IntoBytes;

/// Modules that are told apart; more are written twice, which costs room only.
const KNOWN_MAX: usize = 32;
/// Longest path kept.
const PATH_BYTES_MAX: usize = 512;

/// Writes each module once into the module area of a record.
pub(crate) struct ModuleList<'a> {
    mapping: &'a Mapping,
    /// Where the area begins in the file.
    offset: usize,
    bytes: usize,
    /// Address ranges of the modules written so far.
    known: [(u64, u64); KNOWN_MAX],
    known_count: usize,
}

impl<'a> ModuleList<'a> {
    /// An empty list in the area at `offset`.
    pub(crate) fn new(mapping: &'a Mapping, offset: usize) -> Self {
        ModuleList { mapping, offset, bytes: 0, known: [(0, 0); KNOWN_MAX], known_count: 0 }
    }

    /// Bytes of the area that are in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the module at `pc` if there is one, it is new, and there is room for it.
    pub(crate) fn add_module_of(&mut self, pc: u64) {
        if self.known[..self.known_count].iter().any(|&(start, end)| (start..end).contains(&pc)) {
            return;
        }
        let Some(module) = Module::find(pc) else { return };
        if self.known_count < KNOWN_MAX {
            self.known[self.known_count] = (module.start, module.end);
            self.known_count += 1;
        }
        self.write(&module);
    }

    #[inline(never)]
    fn write(&mut self, module: &Module) {
        let mut probe = Probe::default();
        let mut path = [0u8; PATH_BYTES_MAX];
        let path_len = module.path(&mut path, &mut probe);
        let mut header = ModuleHeader {
            start: module.start,
            end: module.end,
            bias: module.bias,
            build_id_len: 0,
            path_len: path_len as u32,
            build_id: [0; 32],
        };
        header.build_id_len = module.build_id(&mut header.build_id, &mut probe) as u32;
        let entry_bytes = size_of::<ModuleHeader>() + path_len.next_multiple_of(8);
        if self.bytes + entry_bytes > MODULE_AREA_BYTES {
            return;
        }
        let at = self.offset + self.bytes;
        self.mapping.store(at, header.as_bytes());
        self.mapping.store(at + size_of::<ModuleHeader>(), &path[..path_len]);
        self.bytes += entry_bytes;
    }
}
