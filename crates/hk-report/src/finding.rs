//! From a finding's record to a [`Finding`], with its stacks symbolised.

use crate::access;
use crate::assemble::exe_path;
use crate::culprit;
use crate::identity;
use crate::model::*;
use crate::names::*;
use crate::recording::Record;
use crate::sentence;
use crate::source;
use hk_format::{
    AccessKind, Call, EventRecord, Evidence, Family, FindingKind, FindingRecord, LifeRecord, Loss, Place,
    ProcessRecord, StackState,
};
use hk_symbols::{ModuleSpec, Symbolizer};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One bad call or access as a finding of its own.
pub fn finding(
    record: &Record,
    body: &FindingRecord,
    process: Option<&ProcessRecord>,
    symbolizer: &mut Symbolizer,
) -> Finding {
    let exe = process.map(exe_path).unwrap_or_default();
    let start_ns = process.map_or(0, |process| process.start_ns);
    let mut stacks = Stacks {
        modules: body.modules().map(|module| module_spec(&module, &exe)).collect(),
        symbolizer,
        start_ns,
    };
    let kind = FindingKind::from_u32(body.finding);
    let mut finding = Finding {
        id: String::new(),
        kind: word(body.finding, kind, kind_name),
        cwe: kind.map_or(0, FindingKind::cwe),
        message: String::new(),
        call: word(body.call, Call::from_u32(body.call), call_name),
        evidence: word(body.evidence, Evidence::from_u32(body.evidence), evidence_name),
        access: access(body),
        time_ns: record.header.time_ns.saturating_sub(start_ns),
        address: Address(body.address),
        place: word(body.place, Place::from_u32(body.place), place_name),
        block: block(body),
        region: region(body, &exe),
        thread: thread(body.thread_name_bytes(), record.header.tid),
        process: ProcessRef {
            pid: process.map_or(0, |process| process.pid),
            exe: exe.to_string_lossy().into_owned(),
        },
        process_count: 1,
        repeats: u64::from(body.repeats.max(1)),
        aborted: body.aborted != 0,
        stack: stacks.resolve(body.frames()),
        stack_state: word(body.stack_state, StackState::from_u32(body.stack_state), stack_state_name),
        life: stacks.life(&body.life),
        leak: leak(body),
        population: stacks.population(&body.life),
        culprit: None,
        fix: None,
        status: "new".into(),
        suppressed_by: None,
    };
    finding.culprit = culprit::culprit(&finding);
    finding.fix = culprit::fix(&finding);
    finding.id = identity::id(&finding);
    finding.message = sentence::first_sentence(&finding);
    finding
}

/// A stack of return addresses with its names; without the text of source lines.
pub fn stack_frames(symbolizer: &mut Symbolizer, modules: &[ModuleSpec], frames: &[u64]) -> Vec<StackFrame> {
    frames.iter().flat_map(|&pc| symbolizer.frames(modules, pc)).map(stack_frame).collect()
}

/// Resolves the stacks of one record, which share their modules.
struct Stacks<'a> {
    modules: Vec<ModuleSpec>,
    symbolizer: &'a mut Symbolizer,
    start_ns: u64,
}

impl Stacks<'_> {
    fn resolve(&mut self, frames: &[u64]) -> Vec<StackFrame> {
        let mut stack = stack_frames(self.symbolizer, &self.modules, frames);
        source::add_lines(&mut stack);
        stack
    }

    fn life(&mut self, life: &LifeRecord) -> Option<Life> {
        (life.is_known != 0).then(|| Life {
            requested_bytes: life.requested_bytes,
            align_bytes: life.align_bytes,
            pages_start: Address(life.pages_start),
            pages_end: Address(life.pages_end),
            opened: life.opened != 0,
            allocated: self.event(&life.allocated),
            freed: (life.freed.time_ns != 0).then(|| self.event(&life.freed)),
        })
    }

    fn event(&mut self, event: &EventRecord) -> Event {
        Event {
            time_ns: event.time_ns.saturating_sub(self.start_ns),
            family: word(event.family, Family::from_u32(event.family), family_name),
            thread: thread(event.thread_name_bytes(), event.tid),
            stack: self.resolve(event.frames()),
            stack_state: word(event.stack_state, StackState::from_u32(event.stack_state), stack_state_name),
        }
    }

    fn population(&mut self, life: &LifeRecord) -> Option<Population> {
        (life.is_known != 0 && life.site_blocks != 0).then(|| Population {
            blocks: life.site_blocks,
            frees: life.site_frees,
            free_sites: life
                .free_sites
                .iter()
                .filter(|site| site.count != 0)
                .map(|site| FreeSite { count: site.count, stack: self.resolve(site.frames()) })
                .collect(),
        })
    }
}

fn leak(body: &FindingRecord) -> Option<Leak> {
    let leak = &body.leak;
    (leak.loss != 0).then(|| Leak {
        loss: word(leak.loss, Loss::from_u32(leak.loss), loss_name),
        blocks: leak.blocks,
        bytes: leak.bytes,
        indirect_blocks: leak.indirect_blocks,
        indirect_bytes: leak.indirect_bytes,
        sampled_every: leak.every,
    })
}

fn thread(name: &[u8], id: u32) -> ThreadRef {
    ThreadRef { name: String::from_utf8_lossy(name).into_owned(), id }
}

fn access(body: &FindingRecord) -> Option<Access> {
    let kind = AccessKind::from_u32(body.access).filter(|&kind| kind != AccessKind::None)?;
    let code = &body.code[..(body.code_len as usize).min(body.code.len())];
    // The frame's address is one behind the instruction's: see the recorder's `return_address`.
    let at = body.frames().first().map_or(0, |pc| pc.wrapping_sub(1));
    let decoded = access::decode(code, at, kind);
    Some(Access {
        kind: access_name(kind).into(),
        bytes: match body.access_bytes {
            0 => decoded.as_ref().and_then(|decoded| decoded.bytes),
            bytes => Some(bytes),
        },
        instruction: decoded.map(|decoded| decoded.text),
    })
}

pub(crate) fn module_spec(module: &hk_format::ModuleRef<'_>, exe: &Path) -> ModuleSpec {
    let path = match module.path {
        // The loader knows the program itself by no name.
        [] => exe.to_path_buf(),
        path => PathBuf::from(OsStr::from_bytes(path)),
    };
    ModuleSpec {
        path,
        build_id: module.build_id().to_vec(),
        bias: module.header.bias,
        start: module.header.start,
        end: module.header.end,
    }
}

fn stack_frame(frame: hk_symbols::Frame) -> StackFrame {
    StackFrame {
        function: frame.function,
        file: frame.file,
        line: frame.line,
        inlined: frame.inlined,
        module: frame.module.map(|path| path.to_string_lossy().into_owned()),
        offset: frame.module_offset.map(Address),
        pc: Address(frame.pc),
        source: None,
    }
}

fn block(body: &FindingRecord) -> Option<Block> {
    (body.block_start != 0).then(|| Block {
        start: Address(body.block_start),
        bytes: body.block_bytes,
        offset: body.address.wrapping_sub(body.block_start) as i64,
    })
}

fn region(body: &FindingRecord, exe: &Path) -> Option<Region> {
    let named = String::from_utf8_lossy(body.place_name_bytes()).into_owned();
    let in_program = matches!(Place::from_u32(body.place), Some(Place::StaticData | Place::Code));
    let name = match named.is_empty() {
        false => Some(named),
        true if in_program => Some(exe.to_string_lossy().into_owned()).filter(|exe| !exe.is_empty()),
        true => None,
    };
    (body.place_start != 0 || !body.place_name_bytes().is_empty()).then_some(Region {
        start: Address(body.place_start),
        end: Address(body.place_end),
        name,
    })
}
