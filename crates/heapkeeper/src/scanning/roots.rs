//! Where pointers are looked for that nothing leads to: registers, stacks, static data, and all else that the program may have written to.

use super::memory::{PAGE_BYTES, copy_page};
use hk_os::{Context, SignalStack, own_memory};
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
    /// The thread whose stack it is, or 0.
    pub(crate) thread: u32,
}

/// What is not looked at, or differently.
pub(crate) struct Roots<'a> {
    /// The heap, and all else that is ours.
    pub(crate) own: &'a [(usize, usize)],
    /// Where the calling thread's stack begins.
    pub(crate) stack_pointer: usize,
    /// Its id.
    pub(crate) thread: u32,
    /// What it has for handlers of signals.
    pub(crate) signal_stack: SignalStack,
}

impl Roots<'_> {
    /// Calls `found` with each piece of memory that may vanish while it is looked at, or may not be readable, and the mapping that it is of. False if
    /// mappings can't be listed.
    pub(crate) fn for_each_piece(
        &self,
        contexts: impl Fn(&mut dyn FnMut(&Context)),
        mut found: impl FnMut(&ReadableMapping, Piece),
    ) -> bool {
        for_each_readable_mapping(|mapping| {
            if mapping.data == MappedData::None {
                return;
            }
            let (start, thread) = self.first_in_use(&contexts, mapping).unwrap_or((mapping.start, 0));
            self.without_own(mapping, start, thread, &mut found);
        })
    }

    /// Where a mapping begins to be in use, and by which thread, if it is a stack and it is known where its threads stand.
    fn first_in_use(
        &self,
        contexts: &impl Fn(&mut dyn FnMut(&Context)),
        mapping: &ReadableMapping,
    ) -> Option<(usize, u32)> {
        let mut first: Option<(usize, u32)> = None;
        let mut is_known = true;
        let mut note = |pointer: usize, thread: u32, signal_stack: SignalStack, red_zone_bytes: usize| {
            if (mapping.start..mapping.end).contains(&pointer) {
                // What the signal interrupted may lie below: the handler's stack may be an array in one of the thread's own frames.
                is_known &= !signal_stack.contains(pointer);
                let noted = (pointer.saturating_sub(red_zone_bytes).max(mapping.start), thread);
                first = Some(first.map_or(noted, |known| known.min(noted)));
            }
        };
        note(self.stack_pointer, self.thread, self.signal_stack, 0);
        contexts(&mut |context| {
            note(context.stack_pointer(), context.thread(), context.signal_stack(), RED_ZONE_BYTES);
        });
        first.filter(|_| is_known && (mapping.is_first_stack || is_whole_stack(mapping)))
    }

    /// The mapping from `start` on, without the parts that are ours.
    fn without_own(
        &self,
        mapping: &ReadableMapping,
        start: usize,
        thread: u32,
        found: &mut impl FnMut(&ReadableMapping, Piece),
    ) {
        let mut parts = [(0, 0); LEFT_OUT_MAX];
        let mut count = 0;
        let ours = self.own.iter().copied().chain(own_memory());
        for (own_start, bytes) in
            ours.filter(|&(own_start, bytes)| own_start < mapping.end && own_start + bytes > start)
        {
            if let Some(part) = parts.get_mut(count) {
                *part = (own_start, own_start + bytes);
                count += 1;
            }
        }
        let copied_only = mapping.data == MappedData::CopiedPages;
        let stays = mapping.is_private;
        let parts = &mut parts[..count];
        parts.sort_unstable();
        let mut at = start;
        let mut piece = |start: usize, end: usize| {
            if start < end {
                found(mapping, Piece { start, bytes: end - start, copied_only, stays, thread });
            }
        };
        for &mut (start, end) in parts {
            piece(at, start);
            at = at.max(end);
        }
        piece(at, mapping.end);
    }
}

/// Whether a mapping in which a thread stands is that thread's stack and nothing else. A program may give a thread a part of a mapping, with other
/// things below. glibc notes the stack's first address and bytes, one behind the other (`stackblock` of `struct pthread`, nptl/descr.h), in what it keeps of a
/// thread at the very end of its stack.
fn is_whole_stack(mapping: &ReadableMapping) -> bool {
    let Some(words) = mapping.end.checked_sub(PAGE_BYTES).and_then(copy_page) else { return false };
    words.windows(2).any(|pair| {
        let (block, bytes) = (pair[0] as usize, pair[1] as usize);
        // A guard is part of it.
        block <= mapping.start && block.checked_add(bytes) == Some(mapping.end)
    })
}
