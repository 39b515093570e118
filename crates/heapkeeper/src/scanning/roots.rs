//! Where pointers are looked for that nothing leads to: registers, stacks, static data, and all else that the program may have written to.

use hk_os::{Context, own_memory};
use hk_recorder::{MappedData, ReadableMapping, for_each_readable_mapping};

/// Below the stack pointer a leaf function may keep what it likes (System V ABI, AMD64, 3.2.2).
const RED_ZONE_BYTES: usize = 128;
/// Parts of a mapping that are left out, at most.
const LEFT_OUT_MAX: usize = 96;

/// A piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) bytes: usize,
    /// Only pages that are no file's are of interest.
    pub(crate) copied_only: bool,
    /// Pages that are there can be read in place while all threads stand still.
    pub(crate) stays: bool,
    /// It begins where a thread's stack does.
    pub(crate) is_stack: bool,
}

/// What is not looked at, or differently.
pub(crate) struct Roots<'a> {
    /// The heap, and all else that is ours.
    pub(crate) own: &'a [(usize, usize)],
    /// Where the calling thread's stack begins.
    pub(crate) stack_pointer: usize,
}

impl Roots<'_> {
    /// Calls `found` with each piece of memory that may vanish while it is looked at, or may not be readable. False if mappings can't be listed.
    pub(crate) fn for_each_piece(
        &self,
        contexts: impl Fn(&mut dyn FnMut(&Context)),
        mut found: impl FnMut(Piece),
    ) -> bool {
        for_each_readable_mapping(|mapping| {
            if mapping.data == MappedData::None {
                return;
            }
            let mut first = None;
            let mut note = |pointer: usize| {
                if (mapping.start..mapping.end).contains(&pointer) {
                    first = Some(first.map_or(pointer, |known: usize| known.min(pointer)));
                }
            };
            note(self.stack_pointer);
            contexts(&mut |context| note(context.stack_pointer().saturating_sub(RED_ZONE_BYTES)));
            // Elsewhere other things may lie below a stack in the same mapping.
            let first = first.filter(|_| mapping.is_stack);
            let start = first.unwrap_or(mapping.start).max(mapping.start);
            let is_stack = first.is_some();
            self.without_own(ReadableMapping { start, is_stack, ..mapping }, &mut found);
        })
    }

    /// The mapping without the parts that are ours.
    fn without_own(&self, mapping: ReadableMapping, found: &mut impl FnMut(Piece)) {
        let mut parts = [(0, 0); LEFT_OUT_MAX];
        let mut count = 0;
        let ours = self.own.iter().copied().chain(own_memory());
        for (start, bytes) in
            ours.filter(|&(start, bytes)| start < mapping.end && start + bytes > mapping.start)
        {
            if let Some(part) = parts.get_mut(count) {
                *part = (start, start + bytes);
                count += 1;
            }
        }
        let copied_only = mapping.data == MappedData::CopiedPages;
        let (stays, is_stack) = (mapping.is_private, mapping.is_stack);
        let parts = &mut parts[..count];
        parts.sort_unstable();
        let mut at = mapping.start;
        for &mut (start, end) in parts {
            if start > at {
                found(Piece { start: at, bytes: start - at, copied_only, stays, is_stack });
            }
            at = at.max(end);
        }
        if at < mapping.end {
            found(Piece { start: at, bytes: mapping.end - at, copied_only, stays, is_stack });
        }
    }
}
