//! The modules that a record's frames lie in, as the record keeps them.

use super::module::Module;
use super::module_entry::ModuleEntry;
use crate::mapping::Mapping;

/// Modules that are told apart; more are written twice, which costs room only.
const KNOWN_MAX: usize = 32;

/// Writes each module once into the module area of a record.
pub struct ModuleList<'a> {
    mapping: &'a Mapping,
    /// Where the area begins in the file.
    offset: usize,
    /// Its size.
    capacity_bytes: usize,
    bytes: usize,
    /// Address ranges and biases of the modules written so far.
    known: [(u64, u64); KNOWN_MAX],
    known_count: usize,
}

impl<'a> ModuleList<'a> {
    /// An empty list in the area of `capacity_bytes` at `offset`.
    pub(crate) fn new(mapping: &'a Mapping, offset: usize, capacity_bytes: usize) -> Self {
        ModuleList { mapping, offset, capacity_bytes, bytes: 0, known: [(0, 0); KNOWN_MAX], known_count: 0 }
    }

    /// Bytes of the area that are in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the module at `pc` if there is one, it is new, and there is room for it.
    pub(crate) fn add_module_of(&mut self, pc: u64) {
        if self.known[..self.known_count].iter().any(|&(start, end)| (start..end).contains(&pc)) {
            return;
        }
        let Some(module) = Module::find(pc) else { return };
        self.write(&ModuleEntry::of(&module));
    }

    /// Adds a module that may have been unloaded since, likewise.
    pub(crate) fn add(&mut self, entry: &ModuleEntry) {
        if !self.known[..self.known_count].contains(&entry.range()) {
            self.write(entry);
        }
    }

    #[inline(never)]
    fn write(&mut self, entry: &ModuleEntry) {
        if self.known_count < KNOWN_MAX {
            self.known[self.known_count] = entry.range();
            self.known_count += 1;
        }
        let bytes = entry.bytes();
        if self.bytes + bytes.len() > self.capacity_bytes {
            return;
        }
        self.mapping.store(self.offset + self.bytes, bytes);
        self.bytes += bytes.len();
    }
}
