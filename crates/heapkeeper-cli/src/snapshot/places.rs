//! Places that hold pointers and are no blocks: variables, stacks, registers.

use super::names::Names;
use hk_format::RootKind;
use hk_graph::Holder;
use hk_report::{clean, file_name};
use hk_symbols::Variable;
use std::collections::HashMap;

/// x86-64's registers by their numbers in DWARF (System V ABI, figure 3.36).
const REGISTERS: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

/// What roots belong to: one variable, one thread, one mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `variable`, `data` (of a module, where no symbol tells), `thread`, `memory`.
    pub kind: &'static str,
    /// For a reader.
    pub text: String,
}

/// The groups of a snapshot's roots.
pub struct Places {
    /// Each once.
    pub groups: Vec<Group>,
    /// The group of each root.
    pub of_roots: Vec<u32>,
}

impl Names<'_> {
    /// Sorts all roots into groups.
    pub fn places(&mut self) -> Places {
        let snapshot = self.snapshot;
        let mut places = Places { groups: Vec::new(), of_roots: Vec::with_capacity(snapshot.roots.len()) };
        let mut by_text: HashMap<String, u32> = HashMap::new();
        for root in &snapshot.roots {
            let group = self.group(root.place, root.kind, root.tid);
            let number = *by_text.entry(group.text.clone()).or_insert(places.groups.len() as u32);
            if number as usize == places.groups.len() {
                places.groups.push(group);
            }
            places.of_roots.push(number);
        }
        places
    }

    /// What a root belongs to.
    pub fn group(&mut self, place: u64, kind: RootKind, tid: u32) -> Group {
        match kind {
            RootKind::Register | RootKind::Stack => Group {
                kind: "thread",
                text: format!("thread {}: its stack and registers", self.thread(tid)),
            },
            RootKind::Data => match self.variable(place) {
                Some(variable) => match &variable.name {
                    Some(name) => {
                        Group { kind: "variable", text: format!("{} ({})", clean(name), of(&variable)) }
                    }
                    None => {
                        Group { kind: "data", text: format!("data without a symbol ({})", of(&variable)) }
                    }
                },
                None => self.memory(place),
            },
            RootKind::Other => self.memory(place),
        }
    }

    /// One place: `conn_table+0x60 (server, .bss)`.
    pub fn root_text(&mut self, place: u64, kind: RootKind, tid: u32) -> String {
        match kind {
            RootKind::Register => {
                let register = usize::try_from(place).ok().and_then(|number| REGISTERS.get(number));
                let name = register.map_or_else(|| format!("register {place}"), |name| (*name).to_owned());
                format!("{name} of thread {}", self.thread(tid))
            }
            RootKind::Stack => {
                let pointer = self.snapshot.thread(tid).map(|thread| thread.stack_pointer);
                let at = match pointer.and_then(|pointer| place.checked_sub(pointer)) {
                    Some(offset) => format!("stack pointer{}", plus(offset)),
                    // What lies below the stack pointer is in use still, up to 128 bytes.
                    None => format!("{place:#x}"),
                };
                format!("stack of thread {} ({at})", self.thread(tid))
            }
            RootKind::Data => match self.variable(place) {
                Some(Variable { name: Some(name), offset, section, module }) => {
                    let variable = Variable { name: None, offset, section, module };
                    format!("{}{} ({})", clean(&name), plus(offset), of(&variable))
                }
                Some(variable) => {
                    let module = clean(file_name(&variable.module.to_string_lossy()));
                    let section = variable.section.map_or(String::new(), |section| format!(" ({section})"));
                    format!("{module}{}{section}", plus(variable.offset))
                }
                None => format!("{place:#x} in {}", self.memory(place).text),
            },
            RootKind::Other => format!("{place:#x} in {}", self.memory(place).text),
        }
    }

    /// One place that holds a pointer: a root, or a block with the offset in it and who allocated it.
    pub fn holder_text(&mut self, holder: Holder) -> String {
        match holder {
            Holder::Root { place, kind, tid } => self.root_text(place, kind, tid),
            Holder::Block { block, word } => {
                let start = self.snapshot.graph.block(block).start;
                let at = plus(u64::from(word) * 8);
                format!("{start:#x}{at} ({})", self.block_text(block))
            }
        }
    }

    fn memory(&self, place: u64) -> Group {
        let mapping = self.snapshot.mappings.iter().find(|map| map.start <= place && place < map.end);
        let text = match mapping {
            Some(map) => {
                let path = &map.path[..(map.path_len as usize).min(map.path.len())];
                let path = clean(&String::from_utf8_lossy(path));
                let name = if path.is_empty() { "anonymous memory" } else { &path };
                format!("{name} at {:#x}-{:#x}", map.start, map.end)
            }
            None => "memory of no mapping".into(),
        };
        Group { kind: "memory", text }
    }
}

/// `+0x18`, or nothing for 0.
pub fn plus(offset: u64) -> String {
    if offset == 0 { String::new() } else { format!("+{offset:#x}") }
}

/// `server, .bss`.
fn of(variable: &Variable) -> String {
    let module = clean(file_name(&variable.module.to_string_lossy()));
    match &variable.section {
        Some(section) => format!("{module}, {}", clean(section)),
        None => module,
    }
}
