//! Recording a finding: told apart from what is known, committed, and only then given its stack.

use crate::recording::Recording;
use crate::registers::{Innermost, Registers};
use crate::seen::{Sighting, hash};
use crate::stack_area::{ModuleArea, StackArea};
use crate::stacks::{StackId, Stacks};
use crate::sys;
use crate::unwind::{ModuleList, Walk};
use core::mem::{offset_of, size_of};
use core::sync::atomic::Ordering;
use hk_format::{
    AccessKind, CODE_BYTES, Call, EVENT_FRAME_COUNT_MAX, EventRecord, Evidence, FRAME_COUNT_MAX,
    FREE_SITES_MAX, Family, FileHeader, FindingKind, FindingRecord, FreeSiteRecord, LeakRecord, LifeRecord,
    Loss, MODULE_AREA_BYTES, Place, RecordHeader, RecordKind, RecordState, SITE_FRAME_COUNT_MAX, StackState,
};

/// Full records that one process makes; later findings are only counted, and counted as dropped. With 8 KiB
/// each, this is what a program that frees wrongly in ever new ways may take of the file.
const RECORDS_MAX: u32 = 2000;
/// Callers that tell two paths apart.
const PATH_FRAMES: usize = 16;
/// Room for a path in [`FindingRecord::place_name`].
const PLACE_NAME_BYTES: usize = 200;

/// A bad call, as the heap sees it.
#[derive(Clone, Copy)]
pub struct BadCall<'a> {
    /// What is wrong with it.
    pub kind: FindingKind,
    /// The function that was called.
    pub call: Call,
    /// What lies at the address.
    pub place: Place,
    /// The address that was passed.
    pub address: u64,
    /// Start of the block that the address lies in (0: none).
    pub block_start: u64,
    /// Size of that block (0: none).
    pub block_bytes: u64,
    /// Start of the mapping or module part that a foreign address lies in (0: none).
    pub place_start: u64,
    /// Its end.
    pub place_end: u64,
    /// Path of the file or module at a foreign address; empty if none. Cut at its start if too long.
    pub place_name: &'a [u8],
    /// Whether the program is going to be aborted on it.
    pub aborted: bool,
    /// When, in nanoseconds since 1970; 0: when it is recorded, which takes some microseconds.
    pub time_ns: u64,
    /// What shows it.
    pub evidence: Evidence,
    /// What an instruction or system call did with the address.
    pub access: Access<'a>,
    /// The block's life, if it was guarded.
    pub life: Option<&'a BlockLife<'a>>,
    /// What else was lost, if it is a leak, of which the block is the oldest.
    pub leak: Option<LostBlocks>,
}

/// Blocks of one site that were lost. Numbers as in [`LeakRecord`].
#[derive(Clone, Copy, Debug)]
pub struct LostBlocks {
    /// How.
    pub loss: Loss,
    /// See [`LeakRecord::every`].
    pub every: u32,
    /// See [`LeakRecord::blocks`].
    pub blocks: u64,
    /// See [`LeakRecord::bytes`].
    pub bytes: u64,
    /// See [`LeakRecord::indirect_blocks`].
    pub indirect_blocks: u64,
    /// See [`LeakRecord::indirect_bytes`].
    pub indirect_bytes: u64,
}

/// A bad access.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access<'a> {
    /// None if there was no access.
    pub kind: Option<AccessKind>,
    /// How many bytes; 0: the instruction tells.
    pub bytes: u64,
    /// The instruction, and what follows it; empty if there is none. Cut at [`CODE_BYTES`].
    pub code: &'a [u8],
}

/// An allocation or a free of a block.
#[derive(Clone, Copy, Debug)]
pub struct BlockEvent {
    /// Its stack.
    pub stack: StackId,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Thread id (gettid).
    pub tid: u32,
    /// The thread's name, zero-filled.
    pub thread_name: [u8; 16],
    /// By which functions.
    pub family: Family,
}

/// A site that frees blocks of an allocation site.
#[derive(Clone, Copy, Debug, Default)]
pub struct FreeSite {
    /// How many.
    pub count: u64,
    /// One of its stacks.
    pub stack: StackId,
}

/// What is known of a guarded block. Numbers as in [`LifeRecord`].
#[derive(Clone, Copy)]
pub struct BlockLife<'a> {
    /// See [`LifeRecord::requested_bytes`].
    pub requested_bytes: u64,
    /// See [`LifeRecord::align_bytes`].
    pub align_bytes: u64,
    /// See [`LifeRecord::pages_start`].
    pub pages_start: u64,
    /// See [`LifeRecord::pages_end`].
    pub pages_end: u64,
    /// See [`LifeRecord::opened`].
    pub opened: bool,
    /// See [`LifeRecord::site_blocks`].
    pub site_blocks: u64,
    /// See [`LifeRecord::site_frees`].
    pub site_frees: u64,
    /// The allocation.
    pub allocated: BlockEvent,
    /// The free, if there was one.
    pub freed: Option<BlockEvent>,
    /// Who frees the site's blocks, most frequent first.
    pub free_sites: [FreeSite; FREE_SITES_MAX],
    /// Where the stacks are.
    pub stacks: &'a Stacks,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Where the bad call returns to, and its callers, as far as that could be found out; then zeros.
    pub callers: [u64; CALLERS],
    /// Whether this call on this path was seen for the first time (in this process, since its last fork).
    pub first: bool,
    /// Whether it is in the recording now, as a record of its own or as a repeat of one.
    pub kept: bool,
}

impl Recording {
    /// Records a bad call. `registers` were captured in a function that is still running.
    ///
    /// The same call (kind, function, place, caller's stack pointer and the innermost callers) again only
    /// counts as a repeat of the first. Also of use while no recording is open, to tell repeats apart.
    ///
    /// Of a guarded block the allocation and the free count too.
    pub fn record_finding(&self, bad: &BadCall, registers: &Registers, innermost: Innermost) -> Recorded {
        self.count_finding();
        let mut walk = Walk::new(registers);
        walk.skip(innermost);
        let stacks = bad.life.map_or([0; 2], |life| {
            let freed = life.freed.map_or(StackId::NONE, |freed| freed.stack);
            [u64::from(life.allocated.stack.get()), u64::from(freed.get())]
        });
        let [allocated, freed] = stacks;
        let site =
            [bad.kind as u64, bad.call as u64, bad.place as u64, walk.pc(), walk.sp(), allocated, freed];
        // A bad call at a new site is in the file before its stack is looked at. At a known one it may
        // still come another way (through a wrapper of free, say), which only the stack tells.
        let is_new_site = matches!(self.seen.look_up(hash(&site)), Sighting::First(_));
        let committed = if is_new_site { self.commit_finding(bad) } else { None };
        let (first, kept) = match self.seen.look_up(hash_path(&site, walk)) {
            Sighting::Again { record, repeats } if !is_new_site => {
                self.add_repeats(record, repeats);
                (false, record.is_some())
            }
            sighting => {
                let record = if is_new_site { committed } else { self.commit_finding(bad) };
                if let Some(at) = record {
                    self.complete_finding(at, bad, walk, sighting);
                }
                (true, record.is_some())
            }
        };
        Recorded { callers: callers(walk), first, kept }
    }

    /// Records a leak. No call made it, so it has no stack of its own, and it is told once. False if there was no room.
    pub fn record_leak(&self, bad: &BadCall) -> bool {
        self.count_finding();
        let Some(at) = self.commit_finding(bad) else { return false };
        self.put_u32(at + offset_of!(FindingRecord, stack_state), StackState::Whole as u32);
        let modules = module_area(at);
        if let Some(life) = bad.life {
            self.write_life(at, life, &mut self.module_list(&modules), &modules);
        }
        self.commit(at, RecordState::Complete);
        true
    }

    /// Forgets what this process has told of.
    pub(crate) fn forget_findings(&self) {
        self.seen.clear();
        self.finding_records.store(0, Ordering::Relaxed);
    }

    /// Puts a finding into the file, without its stack. None if that is full, or the process has told of
    /// enough.
    fn commit_finding(&self, bad: &BadCall) -> Option<usize> {
        if self.finding_records.fetch_add(1, Ordering::Relaxed) >= RECORDS_MAX {
            // Stays near the limit, lest it wrap.
            self.finding_records.store(RECORDS_MAX, Ordering::Relaxed);
            self.add_u64(offset_of!(FileHeader, dropped), 1);
            return None;
        }
        let at = self.claim_record(size_of::<FindingRecord>(), RecordKind::Finding)?;
        self.write_base(at, bad);
        self.commit(at, RecordState::Written);
        Some(at)
    }

    fn complete_finding(&self, at: usize, bad: &BadCall, walk: Walk, sighting: Sighting) {
        match sighting {
            Sighting::First(Some(place)) => self.add_repeats(Some(at), place.publish(at)),
            Sighting::First(None) => {}
            // Another thread was at the same new site, and came to the path first: both keep their records,
            // and this call is counted in the other's, now or when that is there.
            Sighting::Again { record, repeats } => {
                self.put_u32(at + offset_of!(FindingRecord, repeats), 0);
                self.add_repeats(record, repeats);
            }
        }
        let modules = module_area(at);
        let stack = StackArea {
            frames: at + offset_of!(FindingRecord, frames),
            frames_max: FRAME_COUNT_MAX,
            frame_count: at + offset_of!(FindingRecord, frame_count),
            stack_state: at + offset_of!(FindingRecord, stack_state),
        };
        let mut list = self.module_list(&modules);
        // Damage that is found at the end was done by nobody on this stack.
        if bad.call == Call::Exit {
            self.put_u32(stack.stack_state, StackState::Whole as u32);
        } else {
            self.write_stack(walk, &stack, &mut list, &modules);
        }
        if let Some(life) = bad.life {
            self.write_life(at, life, &mut list, &modules);
        }
        self.commit(at, RecordState::Complete);
    }

    fn write_base(&self, at: usize, bad: &BadCall) {
        self.put_u32(at + offset_of!(FindingRecord, finding), bad.kind as u32);
        self.put_u32(at + offset_of!(FindingRecord, call), bad.call as u32);
        self.put_u32(at + offset_of!(FindingRecord, place), bad.place as u32);
        self.put_u32(at + offset_of!(FindingRecord, repeats), 1);
        self.put_u32(at + offset_of!(FindingRecord, aborted), u32::from(bad.aborted));
        self.put_u32(at + offset_of!(FindingRecord, stack_state), StackState::Absent as u32);
        self.put_u64(at + offset_of!(FindingRecord, address), bad.address);
        self.put_u64(at + offset_of!(FindingRecord, block_start), bad.block_start);
        self.put_u64(at + offset_of!(FindingRecord, block_bytes), bad.block_bytes);
        self.put_u64(at + offset_of!(FindingRecord, place_start), bad.place_start);
        self.put_u64(at + offset_of!(FindingRecord, place_end), bad.place_end);
        if bad.time_ns != 0 {
            self.put_u64(
                at + offset_of!(FindingRecord, header) + offset_of!(RecordHeader, time_ns),
                bad.time_ns,
            );
        }
        self.put_u32(at + offset_of!(FindingRecord, evidence), bad.evidence as u32);
        let access = bad.access.kind.unwrap_or(AccessKind::None);
        self.put_u32(at + offset_of!(FindingRecord, access), access as u32);
        self.put_u64(at + offset_of!(FindingRecord, access_bytes), bad.access.bytes);
        if let Some(leak) = &bad.leak {
            let at = at + offset_of!(FindingRecord, leak);
            self.put_u32(at + offset_of!(LeakRecord, loss), leak.loss as u32);
            self.put_u32(at + offset_of!(LeakRecord, every), leak.every);
            self.put_u64(at + offset_of!(LeakRecord, blocks), leak.blocks);
            self.put_u64(at + offset_of!(LeakRecord, bytes), leak.bytes);
            self.put_u64(at + offset_of!(LeakRecord, indirect_blocks), leak.indirect_blocks);
            self.put_u64(at + offset_of!(LeakRecord, indirect_bytes), leak.indirect_bytes);
        }
        let code = &bad.access.code[..bad.access.code.len().min(CODE_BYTES)];
        self.mapping.store(at + offset_of!(FindingRecord, code), code);
        self.put_u32(at + offset_of!(FindingRecord, code_len), code.len() as u32);
        self.mapping.store(at + offset_of!(FindingRecord, thread_name), &sys::thread_name());
        let name = &bad.place_name[bad.place_name.len().saturating_sub(PLACE_NAME_BYTES)..];
        self.mapping.store(at + offset_of!(FindingRecord, place_name), name);
    }

    fn write_life(&self, at: usize, life: &BlockLife, modules: &mut ModuleList<'_>, area: &ModuleArea) {
        let at = at + offset_of!(FindingRecord, life);
        self.put_u64(at + offset_of!(LifeRecord, requested_bytes), life.requested_bytes);
        self.put_u64(at + offset_of!(LifeRecord, align_bytes), life.align_bytes);
        self.put_u64(at + offset_of!(LifeRecord, pages_start), life.pages_start);
        self.put_u64(at + offset_of!(LifeRecord, pages_end), life.pages_end);
        self.put_u64(at + offset_of!(LifeRecord, site_blocks), life.site_blocks);
        self.put_u64(at + offset_of!(LifeRecord, site_frees), life.site_frees);
        self.put_u32(at + offset_of!(LifeRecord, opened), u32::from(life.opened));
        self.put_u32(at + offset_of!(LifeRecord, is_known), 1);
        let mut write = |event: usize, source: &BlockEvent| {
            self.write_event(at + event, source, life.stacks, modules, area);
        };
        write(offset_of!(LifeRecord, allocated), &life.allocated);
        if let Some(freed) = &life.freed {
            write(offset_of!(LifeRecord, freed), freed);
        }
        for (nth, site) in life.free_sites.iter().enumerate().filter(|(_, site)| site.count != 0) {
            let to = at + offset_of!(LifeRecord, free_sites) + nth * size_of::<FreeSiteRecord>();
            self.put_u64(to + offset_of!(FreeSiteRecord, count), site.count);
            let stack = StackArea {
                frames: to + offset_of!(FreeSiteRecord, frames),
                frames_max: SITE_FRAME_COUNT_MAX,
                frame_count: to + offset_of!(FreeSiteRecord, frame_count),
                // Nobody asks how a site's stack goes on.
                stack_state: to + offset_of!(FreeSiteRecord, reserved),
            };
            self.write_kept_stack(life.stacks, site.stack, &stack, modules, area);
        }
    }

    fn write_event(
        &self,
        at: usize,
        event: &BlockEvent,
        stacks: &Stacks,
        modules: &mut ModuleList<'_>,
        area: &ModuleArea,
    ) {
        self.put_u64(at + offset_of!(EventRecord, time_ns), event.time_ns);
        self.put_u32(at + offset_of!(EventRecord, tid), event.tid);
        self.put_u32(at + offset_of!(EventRecord, family), event.family as u32);
        self.mapping.store(at + offset_of!(EventRecord, thread_name), &event.thread_name);
        let stack = StackArea {
            frames: at + offset_of!(EventRecord, frames),
            frames_max: EVENT_FRAME_COUNT_MAX,
            frame_count: at + offset_of!(EventRecord, frame_count),
            stack_state: at + offset_of!(EventRecord, stack_state),
        };
        self.write_kept_stack(stacks, event.stack, &stack, modules, area);
    }

    fn add_repeats(&self, record: Option<usize>, repeats: u32) {
        if let Some(at) = record {
            self.add_u32(at + offset_of!(FindingRecord, repeats), repeats);
        }
    }
}

fn module_area(at: usize) -> ModuleArea {
    ModuleArea {
        modules: at + offset_of!(FindingRecord, modules),
        modules_max_bytes: MODULE_AREA_BYTES,
        module_bytes: at + offset_of!(FindingRecord, module_bytes),
    }
}

/// Callers that a finding's one line may name.
pub const CALLERS: usize = 6;

fn callers(mut walk: Walk) -> [u64; CALLERS] {
    let mut callers = [0; CALLERS];
    for caller in &mut callers {
        *caller = walk.pc();
        if walk.step().is_some() {
            break;
        }
    }
    callers
}

/// Tells the path of a bad call: its site and its innermost callers.
fn hash_path(site: &[u64], mut walk: Walk) -> u64 {
    let mut path = hash(site);
    for _ in 0..PATH_FRAMES {
        if walk.step().is_some() {
            break;
        }
        path = hash(&[path, walk.pc()]);
    }
    // Differs from the site's even where there is no caller.
    hash(&[path])
}
