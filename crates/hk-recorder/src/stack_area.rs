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
