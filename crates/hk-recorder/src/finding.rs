//! Recording a finding: told apart from what is known, committed, and only then given its stack.

use crate::recording::Recording;
use crate::registers::{Innermost, Registers};
use crate::seen::{Sighting, hash};
use crate::stack_area::{ModuleArea, StackArea};
use crate::sys;
use crate::unwind::Walk;
use core::mem::{offset_of, size_of};
use core::sync::atomic::Ordering;
use hk_format::{
    Call, FRAME_COUNT_MAX, FileHeader, FindingKind, FindingRecord, MODULE_AREA_BYTES, Place, RecordKind,
    RecordState, StackState,
};

/// Full records that one process makes; later findings are only counted, and counted as dropped. With 8 KiB
/// each, this is what a program that frees wrongly in ever new ways may take of the file.
const RECORDS_MAX: u32 = 2000;
/// Callers that tell two paths apart.
const PATH_FRAMES: usize = 16;
/// Room for a path in [`FindingRecord::place_name`].
const PLACE_NAME_BYTES: usize = 200;

/// A bad call, as the heap sees it.
#[derive(Clone, Copy, Debug)]
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
    pub fn record_finding(&self, bad: &BadCall, registers: &Registers, innermost: Innermost) -> Recorded {
        self.count_finding();
        let mut walk = Walk::new(registers);
        walk.skip(innermost);
        let site = [bad.kind as u64, bad.call as u64, bad.place as u64, walk.pc(), walk.sp()];
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
                    self.complete_finding(at, walk, sighting);
                }
                (true, record.is_some())
            }
        };
        Recorded { callers: callers(walk), first, kept }
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

    fn complete_finding(&self, at: usize, walk: Walk, sighting: Sighting) {
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
        let modules = ModuleArea {
            modules: at + offset_of!(FindingRecord, modules),
            modules_max_bytes: MODULE_AREA_BYTES,
            module_bytes: at + offset_of!(FindingRecord, module_bytes),
        };
        let stack = StackArea {
            frames: at + offset_of!(FindingRecord, frames),
            frames_max: FRAME_COUNT_MAX,
            frame_count: at + offset_of!(FindingRecord, frame_count),
            stack_state: at + offset_of!(FindingRecord, stack_state),
        };
        self.write_stack(walk, &stack, &mut self.module_list(&modules), &modules);
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
        self.mapping.store(at + offset_of!(FindingRecord, thread_name), &sys::thread_name());
        let name = &bad.place_name[bad.place_name.len().saturating_sub(PLACE_NAME_BYTES)..];
        self.mapping.store(at + offset_of!(FindingRecord, place_name), name);
    }

    fn add_repeats(&self, record: Option<usize>, repeats: u32) {
        if let Some(at) = record {
            self.add_u32(at + offset_of!(FindingRecord, repeats), repeats);
        }
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
