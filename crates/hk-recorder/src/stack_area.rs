//! Writing a stack with its modules into a record.

use crate::recording::Recording;
use crate::stacks::{StackId, Stacks};
use crate::unwind::{ModuleList, STACK_FRAMES_MAX, Walk};
use core::mem::size_of;
use hk_format::StackState;

/// Where a record has a stack: offsets in the file, and the room for frames.
#[derive(Clone, Copy, Debug)]
pub struct StackArea {
    /// Offset of the frames, of eight bytes each.
    pub frames: usize,
    /// How many there is room for.
    pub frames_max: usize,
    /// Offset of their number, of four bytes.
    pub frame_count: usize,
    /// Offset of the [`StackState`].
    pub stack_state: usize,
}

/// Where a record has the modules of all its stacks.
#[derive(Clone, Copy, Debug)]
pub struct ModuleArea {
    /// Offset of the modules in the file.
    pub modules: usize,
    /// The room for them.
    pub modules_max_bytes: usize,
    /// Offset of the number of bytes that are used, of four bytes.
    pub module_bytes: usize,
}

/// A stack that is being written.
struct Writer<'a> {
    recording: &'a Recording,
    to: &'a StackArea,
    count: usize,
}

impl Writer<'_> {
    /// Adds a frame; whether there was room for it.
    fn push(&mut self, frame: u64) -> bool {
        let has_room = self.count < self.to.frames_max;
        if has_room {
            self.recording.put_u64(self.to.frames + self.count * size_of::<u64>(), frame);
            self.count += 1;
            self.recording.put_u32(self.to.frame_count, self.count as u32);
        }
        has_room
    }

    fn end(&self, state: StackState) {
        self.recording.put_u32(self.to.stack_state, state as u32);
    }
}

impl Recording {
    /// An empty list of modules in a record's area.
    pub fn module_list(&self, area: &ModuleArea) -> ModuleList<'_> {
        ModuleList::new(&self.mapping, area.modules, area.modules_max_bytes)
    }

    /// Writes a kept stack into a record, and the modules that it needs to `modules`.
    #[inline(never)]
    pub fn write_kept_stack(
        &self,
        stacks: &Stacks,
        id: StackId,
        to: &StackArea,
        modules: &mut ModuleList<'_>,
        area: &ModuleArea,
    ) {
        let mut frames = [0; STACK_FRAMES_MAX];
        let (count, state) = stacks.frames(id, &mut frames);
        let mut writer = Writer { recording: self, to, count: 0 };
        let whole = frames[..count].iter().all(|&frame| writer.push(frame));
        stacks.for_each_entry_of(id, |entry, _| modules.add(entry));
        self.put_u32(area.module_bytes, modules.bytes() as u32);
        writer.end(if whole { state } else { StackState::Cut });
    }

    /// Walks the stack straight into a record. Counts are stored as it goes, so that a process that dies on the
    /// way leaves what it has.
    #[inline(never)]
    pub(crate) fn write_stack(
        &self,
        mut walk: Walk,
        to: &StackArea,
        modules: &mut ModuleList<'_>,
        area: &ModuleArea,
    ) {
        let mut writer = Writer { recording: self, to, count: 0 };
        let state = loop {
            let frame = walk.return_address();
            if !writer.push(frame) {
                break StackState::Cut;
            }
            modules.add_module_of(frame.wrapping_sub(1));
            self.put_u32(area.module_bytes, modules.bytes() as u32);
            if let Some(end) = walk.step() {
                break end;
            }
        };
        writer.end(state);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::registers::{Innermost, Registers};
    use core::mem::offset_of;
    use hk_format::{FRAME_COUNT_MAX, FileHeader, FindingRecord, MODULE_AREA_BYTES, RecordKind};
    use std::ffi::CString;
    use std::vec::Vec;
    use zerocopy::{FromBytes, IntoBytes};

    fn areas(at: usize, frames_max: usize) -> (StackArea, ModuleArea) {
        let stack = StackArea {
            frames: at + offset_of!(FindingRecord, frames),
            frames_max,
            frame_count: at + offset_of!(FindingRecord, frame_count),
            stack_state: at + offset_of!(FindingRecord, stack_state),
        };
        let modules = ModuleArea {
            modules: at + offset_of!(FindingRecord, modules),
            modules_max_bytes: MODULE_AREA_BYTES,
            module_bytes: at + offset_of!(FindingRecord, module_bytes),
        };
        (stack, modules)
    }

    /// A record as it is in the file.
    fn read(path: &std::path::Path, at: usize) -> FindingRecord {
        FindingRecord::read_from_prefix(&std::fs::read(path).unwrap()[at..]).unwrap().0
    }

    #[test]
    fn a_kept_stack_is_written_like_a_walked_one() {
        static STACKS: Stacks = Stacks::new();
        static RECORDING: Recording = Recording::new();
        let path = std::env::temp_dir().join(std::format!("hk-stack-area-{}", std::process::id()));
        let file_bytes = hk_format::file_layout(4) + (1 << 20);
        let mut bytes = std::vec![0; file_bytes as usize];
        let header = FileHeader::new(file_bytes, 4, 1);
        bytes[..size_of::<FileHeader>()].copy_from_slice(header.as_bytes());
        std::fs::write(&path, &bytes).unwrap();
        RECORDING.open(&CString::new(path.to_str().unwrap()).unwrap()).unwrap();
        let claim = || RECORDING.claim_record(size_of::<FindingRecord>(), RecordKind::Finding).unwrap();
        let (walked, kept, cut) = (claim(), claim(), claim());
        let registers = Registers::capture();
        let id = STACKS.capture(&registers, Innermost::AtCapture);
        let (stack, area) = areas(walked, FRAME_COUNT_MAX);
        RECORDING.write_stack(Walk::new(&registers), &stack, &mut RECORDING.module_list(&area), &area);
        for (at, frames_max) in [(kept, FRAME_COUNT_MAX), (cut, 3)] {
            let (stack, area) = areas(at, frames_max);
            let mut modules = RECORDING.module_list(&area);
            RECORDING.write_kept_stack(&STACKS, id, &stack, &mut modules, &area);
            // The same stack again needs no more modules.
            RECORDING.write_kept_stack(&STACKS, id, &stack, &mut modules, &area);
        }
        let [walked, kept, cut] = [walked, kept, cut].map(|at| read(&path, at));
        let _ = std::fs::remove_file(&path);
        assert!(walked.frame_count > 3);
        assert_eq!(kept.frames(), walked.frames());
        assert_eq!((kept.stack_state, walked.stack_state), (1, 1));
        let modules = |record: &FindingRecord| -> Vec<(u64, Vec<u8>, Vec<u8>)> {
            let one = |m: hk_format::ModuleRef<'_>| (m.header.start, m.build_id().to_vec(), m.path.to_vec());
            record.modules().map(one).collect()
        };
        assert!(modules(&walked).len() >= 2);
        assert_eq!(modules(&kept), modules(&walked));
        assert_eq!(cut.frames(), &walked.frames()[..3]);
        assert_eq!(cut.stack_state, StackState::Cut as u32);
    }
}
