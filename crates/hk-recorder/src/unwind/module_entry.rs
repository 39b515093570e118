//! What is kept of a module, in the layout of a record's module area.

use super::module::Module;
use crate::probe::Probe;
use hk_format::ModuleHeader;
use zerocopy::{FromBytes, IntoBytes};

/// Longest path kept.
const PATH_BYTES_MAX: usize = 512;
const WORD_BYTES: usize = size_of::<u64>();
const HEADER_WORDS: usize = size_of::<ModuleHeader>() / WORD_BYTES;
/// Words of an entry at most.
pub(crate) const ENTRY_WORDS_MAX: usize = HEADER_WORDS + PATH_BYTES_MAX / WORD_BYTES;

/// A [`ModuleHeader`] and the path that follows it, padded to whole words.
pub(crate) struct ModuleEntry {
    words: [u64; ENTRY_WORDS_MAX],
    len: usize,
}

impl ModuleEntry {
    /// The entry of a loaded module.
    #[inline(never)]
    pub(super) fn of(module: &Module) -> ModuleEntry {
        Self::with_path(module, |path, probe| module.path(path, probe))
    }

    /// The entry of the module whose file is mapped at `start`, and has that path. None if it is no module.
    pub(crate) fn of_file(start: u64, path: &[u8]) -> Option<ModuleEntry> {
        let module = Module::of_file(start, start)?;
        Some(Self::with_path(&module, |to, _| {
            let len = path.len().min(to.len());
            to[..len].copy_from_slice(&path[..len]);
            len
        }))
    }

    fn with_path(module: &Module, put_path: impl FnOnce(&mut [u8], &mut Probe) -> usize) -> ModuleEntry {
        let mut probe = Probe::default();
        let mut entry = ModuleEntry { words: [0; ENTRY_WORDS_MAX], len: HEADER_WORDS };
        let (head, path) = entry.words.as_mut_bytes().split_at_mut(size_of::<ModuleHeader>());
        let path_len = put_path(path, &mut probe);
        let mut header = ModuleHeader {
            start: module.start,
            end: module.end,
            bias: module.bias,
            build_id_len: 0,
            path_len: path_len as u32,
            build_id: [0; 32],
        };
        header.build_id_len = module.build_id(&mut header.build_id, &mut probe) as u32;
        head.copy_from_slice(header.as_bytes());
        // Looking for the path may have left more there than it is long.
        path[path_len..].fill(0);
        entry.len += path_len.div_ceil(WORD_BYTES);
        entry
    }

    /// An entry of as many words as `words` yields.
    pub(super) fn from_words(words: impl Iterator<Item = u64>) -> ModuleEntry {
        let mut entry = ModuleEntry { words: [0; ENTRY_WORDS_MAX], len: 0 };
        for (to, word) in entry.words.iter_mut().zip(words) {
            *to = word;
            entry.len += 1;
        }
        entry
    }

    /// Its words.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..self.len]
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.words().as_bytes()
    }

    /// Whether another one is of the same file at the same place, whatever their paths are called.
    pub(crate) fn is_same_module(&self, other: &ModuleEntry) -> bool {
        let head =
            |entry: &ModuleEntry| ModuleHeader::read_from_prefix(entry.bytes()).ok().map(|(head, _)| head);
        let (Some(a), Some(b)) = (head(self), head(other)) else { return false };
        a.start == b.start && a.bias == b.bias && a.build_id == b.build_id
    }

    /// First address of the module, and its end.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.words[0], self.words[1])
    }
}
