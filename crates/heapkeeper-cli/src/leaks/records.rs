//! Lost blocks of a snapshot in the records that the library makes of those that it finds at exit: the reports are then the same.

use crate::snapshot::Names;
use hk_format::{
    Call, EVENT_FRAME_COUNT_MAX, EventRecord, Evidence, FindingKind, FindingRecord, LeakRecord, Loss,
    MODULE_AREA_BYTES, ModuleHeader, PROCESS_NAME_BYTES, Place, ProcessRecord, ProcessState, StackState,
};
use hk_graph::{Leak, LeakKind, Life, Module, Snapshot};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use zerocopy::{FromZeros, IntoBytes};

/// The snapshot's process.
pub fn process(snapshot: &Snapshot, names: &Names<'_>) -> ProcessRecord {
    let mut record = ProcessRecord::new_zeroed();
    let header = &snapshot.header;
    record.state = ProcessState::Running as u32;
    (record.pid, record.mode, record.start_ns) = (header.pid, header.mode, header.start_ns);
    record.figures.live_bytes = snapshot.totals.block_bytes;
    record.figures.live_blocks = snapshot.totals.blocks;
    let path = names.exe().as_os_str().as_bytes();
    // Of a long one the end.
    let path = &path[path.len().saturating_sub(PROCESS_NAME_BYTES)..];
    record.name[..path.len()].copy_from_slice(path);
    record.name_len = path.len() as u32;
    record
}

/// What was lost at one site in one way; of blocks whose site is not known, what has one size.
#[derive(Default)]
struct LostAt {
    blocks: u64,
    bytes: u64,
    indirect_blocks: u64,
    indirect_bytes: u64,
    /// The block that was allocated first.
    oldest: u32,
    oldest_ns: u64,
}

/// One finding for each site and way, those that lost most first.
pub fn findings<'a>(
    snapshot: &'a Snapshot,
    leaks: &[Leak],
) -> impl Iterator<Item = Box<FindingRecord>> + use<'a> {
    let mut sites: HashMap<(LeakKind, u32, u64), LostAt> = HashMap::new();
    for leak in leaks {
        let life = snapshot.lives.of(leak.block).filter(|life| life.stack != 0);
        let bytes = snapshot.graph.bytes(leak.block);
        let key = life.map_or((leak.kind, 0, bytes), |life| (leak.kind, life.stack, 0));
        sites.entry(key).or_default().count(leak, bytes, life.map_or(0, |life| life.time_ns));
    }
    let mut sites: Vec<_> = sites.into_iter().map(|((kind, ..), at)| (kind, at)).collect();
    sites.sort_by_key(|(_, at)| (std::cmp::Reverse((at.bytes + at.indirect_bytes, at.blocks)), at.oldest));
    sites.into_iter().map(|(kind, at)| finding(snapshot, kind, &at))
}

impl LostAt {
    fn count(&mut self, leak: &Leak, bytes: u64, time_ns: u64) {
        if self.blocks == 0 || time_ns < self.oldest_ns {
            (self.oldest, self.oldest_ns) = (leak.block, time_ns);
        }
        self.blocks += 1;
        self.bytes += bytes;
        self.indirect_blocks += leak.indirect_blocks;
        self.indirect_bytes += leak.indirect_bytes;
    }
}

fn finding(snapshot: &Snapshot, kind: LeakKind, at: &LostAt) -> Box<FindingRecord> {
    let mut record = Box::new(FindingRecord::new_zeroed());
    let header = &snapshot.header;
    let block = snapshot.graph.block(at.oldest);
    // A scan is nobody's call: it is told of the first thread.
    (record.header.tid, record.header.time_ns) = (header.pid, header.time_ns);
    record.thread_name = thread_name(snapshot, header.pid);
    record.finding = FindingKind::Leak as u32;
    record.call = Call::Scan as u32;
    record.place = Place::InsideLiveBlock as u32;
    record.evidence = Evidence::Scan as u32;
    record.stack_state = StackState::Whole as u32;
    record.repeats = 1;
    (record.address, record.block_start, record.block_bytes) = (block.start, block.start, block.bytes);
    record.leak = LeakRecord {
        loss: match kind {
            LeakKind::Direct => Loss::Direct as u32,
            LeakKind::Cycle => Loss::Cycle as u32,
        },
        every: header.every,
        blocks: at.blocks,
        bytes: at.bytes,
        indirect_blocks: at.indirect_blocks,
        indirect_bytes: at.indirect_bytes,
        reserved: 0,
    };
    if let Some(life) = snapshot.lives.of(at.oldest).filter(|life| life.stack != 0) {
        tell_life(&mut record, snapshot, life);
    }
    record
}

fn tell_life(record: &mut FindingRecord, snapshot: &Snapshot, life: &Life) {
    let frames = snapshot.stacks.frames(life.stack);
    let kept = &frames[..frames.len().min(EVENT_FRAME_COUNT_MAX)];
    let state = if kept.len() < frames.len() { StackState::Cut } else { StackState::Whole };
    let allocated: &mut EventRecord = &mut record.life.allocated;
    (allocated.time_ns, allocated.tid) = (life.time_ns, life.tid);
    allocated.thread_name = thread_name(snapshot, life.tid);
    allocated.stack_state = state as u32;
    allocated.frame_count = kept.len() as u32;
    allocated.frames[..kept.len()].copy_from_slice(kept);
    record.life.is_known = 1;
    record.life.requested_bytes = life.requested_bytes;
    record.block_bytes = life.requested_bytes;
    // Calls are before the addresses that they return to.
    let holds = |module: &&Module| {
        let range = module.header.start..module.header.end;
        kept.iter().any(|pc| range.contains(&pc.saturating_sub(1)))
    };
    for module in snapshot.modules.iter().filter(holds) {
        add_module(record, module);
    }
}

/// Adds it to the record's list, if there is room.
fn add_module(record: &mut FindingRecord, module: &Module) {
    let header = ModuleHeader { path_len: module.path.len() as u32, ..module.header };
    let at = record.module_bytes as usize;
    let path_at = at + size_of::<ModuleHeader>();
    let end = path_at + module.path.len().next_multiple_of(8);
    if end <= MODULE_AREA_BYTES {
        record.modules[at..path_at].copy_from_slice(header.as_bytes());
        record.modules[path_at..path_at + module.path.len()].copy_from_slice(&module.path);
        record.module_bytes = end as u32;
    }
}

fn thread_name(snapshot: &Snapshot, tid: u32) -> [u8; 16] {
    snapshot.thread(tid).map_or([0; 16], |thread| thread.name)
}
