//! The names of what is in a snapshot: its program, threads, sites, variables.

use super::sites::{Site, sites_by_label};
use hk_graph::{Module, Scale, Snapshot};
use hk_report::{StackFrame, clean, count, file_name, stack_frames};
use hk_symbols::{ModuleSpec, Pointee, PointerPlace, Symbolizer, Variable};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A snapshot and what names it.
pub struct Names<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// Allocation sites.
    pub sites: Vec<Site>,
    /// The site of each stack, from stack 1 on.
    of_stacks: Vec<u32>,
    exe: PathBuf,
    modules: Vec<ModuleSpec>,
    symbolizer: Symbolizer,
}

impl<'a> Names<'a> {
    /// Looks all stacks up.
    pub fn new(snapshot: &'a Snapshot) -> Names<'a> {
        let exe = exe(snapshot);
        let modules: Vec<ModuleSpec> = snapshot.modules.iter().map(|module| spec(module, &exe)).collect();
        let mut symbolizer = Symbolizer::new();
        let mut known: HashMap<u64, Vec<StackFrame>> = HashMap::new();
        let stacks = (1..=snapshot.stacks.len() as u32).map(|stack| {
            let mut frames = Vec::new();
            for &pc in snapshot.stacks.frames(stack) {
                let named = known.entry(pc).or_insert_with(|| stack_frames(&mut symbolizer, &modules, &[pc]));
                frames.extend_from_slice(named);
            }
            frames
        });
        let (sites, of_stacks) = sites_by_label(stacks);
        Names { snapshot, sites, of_stacks, exe, modules, symbolizer }
    }

    /// The program's path; empty if it is not known.
    pub fn exe(&self) -> &std::path::Path {
        &self.exe
    }

    /// `server (1234)`.
    pub fn process(&self) -> String {
        let name = clean(file_name(&self.exe.to_string_lossy()));
        let pid = self.snapshot.header.pid;
        if name.is_empty() { format!("process {pid}") } else { format!("{name} ({pid})") }
    }

    /// `worker (1235)`.
    pub fn thread(&self, tid: u32) -> String {
        let name = self.snapshot.thread(tid).map(|thread| {
            let name = thread.name.split(|&byte| byte == 0).next().unwrap_or_default();
            clean(&String::from_utf8_lossy(name))
        });
        match name.filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} ({tid})"),
            None => tid.to_string(),
        }
    }

    /// The site of a stack, by its number.
    pub fn site_of_stack(&self, stack: u32) -> Option<u32> {
        Some(self.of_stacks[(stack as usize).checked_sub(1)?])
    }

    /// The site that a block was allocated at, if that was recorded.
    pub fn site_of(&self, block: u32) -> Option<u32> {
        self.site_of_stack(self.snapshot.lives.of(block)?.stack)
    }

    /// What was asked for, or what the heap made of it if that was not recorded.
    pub fn requested_bytes(&self, block: u32) -> u64 {
        let life = self.snapshot.lives.of(block).filter(|life| life.requested_bytes != 0);
        life.map_or_else(|| self.snapshot.graph.bytes(block), |life| life.requested_bytes)
    }

    /// `128 bytes, allocated by make_conn server.c:88`.
    pub fn block_text(&self, block: u32) -> String {
        let bytes = count(self.requested_bytes(block), "byte");
        match self.site_of(block) {
            Some(site) => format!("{bytes}, allocated by {}", self.sites[site as usize].short()),
            None => bytes,
        }
    }

    /// The variable at an address.
    pub fn variable(&mut self, address: u64) -> Option<Variable> {
        self.symbolizer.variable(&self.modules, address)
    }

    /// The pointer at an address of a variable, by its type.
    pub fn typed_variable(&mut self, address: u64) -> Option<PointerPlace> {
        self.symbolizer.pointer_in_variable(&self.modules, address)
    }

    /// The pointer at an offset of a block, by the type of what leads there.
    pub fn typed_field(&self, of: Pointee, bytes: u64, offset: u64) -> Option<PointerPlace> {
        self.symbolizer.pointer_in_block(of, bytes, offset)
    }

    /// How figures of sites are to be read.
    pub fn scale(&self) -> Scale {
        Scale::new(self.snapshot.header.every)
    }

    /// What is known of how many blocks; None if of all.
    pub fn coverage(&self) -> Option<String> {
        match self.snapshot.header.every {
            1 => None,
            0 if self.snapshot.lives.all().is_empty() => Some("who allocated blocks was not recorded".into()),
            0 => Some("who allocated blocks was recorded of certain sites only".into()),
            every => Some(format!("who allocated a block was recorded of one in {every}")),
        }
    }

    /// For what symbolizes further.
    pub fn into_symbolizer(self) -> Symbolizer {
        self.symbolizer
    }
}

/// The program is the first module. Where it has no name, as the loader knows it by none, a mapping of its data does.
fn exe(snapshot: &Snapshot) -> PathBuf {
    let path = snapshot.header.program_bytes();
    let recorded = PathBuf::from(OsStr::from_bytes(path));
    if path.is_empty() || path.starts_with(b"/") {
        return recorded;
    }
    // The end of a long one: the system may still know the whole.
    match std::fs::read_link(format!("/proc/{}/exe", snapshot.header.pid)) {
        Ok(whole) if whole.as_os_str().as_bytes().ends_with(path) => whole,
        _ => recorded,
    }
}

fn spec(module: &Module, exe: &std::path::Path) -> ModuleSpec {
    let path = match &module.path[..] {
        [] => exe.to_path_buf(),
        path => PathBuf::from(OsStr::from_bytes(path)),
    };
    let header = &module.header;
    let (bias, start, end) = (header.bias, header.start, header.end);
    ModuleSpec { path, build_id: module.build_id().to_vec(), bias, start, end }
}
