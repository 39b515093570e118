//! Which slots are free, and which is next.
//!
//! Slots of a size are used in turn: what was freed last comes last. New slots are cut as long as fewer than a number of freed ones rest, so
//! that a stale pointer meets closed pages for as many frees. A free pushes its slot on a stack of the size, without the lock, as a signal
//! handler may free whatever it interrupted; who allocates takes over what lies there.

use crate::layout::{
    CHUNK_BYTES, DATA_PAGES, Kind, Layout, SIZE_COUNT, chunks_of_run, size_of_pages, slots_per_chunk,
};
use crate::slot::{DIRTY, OPENED, OWNED, PROTECTED, Slot, SlotId};
use crate::slot_stack::SlotStack;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

/// Freed slots of a size that rest at least: large ones are few.
const REST_SLOTS_MIN: usize = 16;

/// Freed slots, the oldest first.
#[derive(Debug)]
struct List {
    first: Cell<u32>,
    last: Cell<u32>,
    len: Cell<usize>,
}

impl List {
    const fn new() -> Self {
        List { first: Cell::new(0), last: Cell::new(0), len: Cell::new(0) }
    }
}

/// What the pool needs to know of the area.
pub(crate) trait Area {
    /// How it is cut.
    fn layout(&self) -> &Layout;
    /// What a chunk is, to be read and set.
    fn kind(&self, chunk: usize) -> &AtomicU32;
    /// A slot's record.
    fn slot(&self, id: SlotId) -> &Slot;
    /// The slot with that index in a chunk.
    fn id(&self, chunk: usize, index: usize) -> SlotId;
    /// Makes all up to an offset accessible but closes the pages of these chunks. False if that is refused.
    fn make_chunks(&self, first: usize, count: usize) -> bool;
}

/// Slots of one page that are made ready at once: their pages are opened by one system call, ahead of their use.
pub(crate) const READY_MAX: usize = 16;

/// A slot that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) id: SlotId,
    pub(crate) kind: Kind,
    pub(crate) chunk: usize,
    /// Its pages are open already.
    pub(crate) is_open: bool,
}

impl Taken {
    fn new(id: SlotId, kind: Kind) -> Self {
        Taken { id, kind, chunk: chunk_of(id), is_open: false }
    }
}

/// See the module head. Cells are accessed under the lock of [`crate::guards::Guards`].
#[derive(Debug)]
pub(crate) struct Pool {
    lists: [List; SIZE_COUNT],
    /// Of all sizes beyond a chunk.
    runs: List,
    /// Freed, and not in a list yet; the runs' at the end.
    returned: [SlotStack; SIZE_COUNT + 1],
    /// The chunk + 1 that slots of the size are cut from, and the next slot of it.
    cutting: [Cell<(u32, u32)>; SIZE_COUNT],
    /// Slots of the first size whose pages are open, the next one last.
    ready: [Cell<u32>; READY_MAX],
    ready_count: Cell<usize>,
    /// Chunks from here on are not in use.
    chunk_next: Cell<usize>,
}

impl Pool {
    pub(crate) const fn new() -> Self {
        Pool {
            lists: [const { List::new() }; SIZE_COUNT],
            runs: List::new(),
            returned: [const { SlotStack::new() }; SIZE_COUNT + 1],
            cutting: [const { Cell::new((0, 0)) }; SIZE_COUNT],
            ready: [const { Cell::new(0) }; READY_MAX],
            ready_count: Cell::new(0),
            chunk_next: Cell::new(0),
        }
    }

    /// A slot with so many data pages; `rest_pages` of freed ones of its size are to rest.
    pub(crate) fn take(&self, area: &impl Area, pages: usize, rest_pages: usize) -> Option<Taken> {
        let taken = match size_of_pages(pages) {
            Some(size) => self.take_slot(area, size, rest_pages),
            None => self.take_run(area, pages, rest_pages),
        }?;
        area.slot(taken.id).set_mark(OWNED);
        Some(taken)
    }

    /// The same of one page, from those that are ready; `open` opens the pages of as many as it is given. Slots whose surroundings were opened
    /// by a bad access are not for here.
    pub(crate) fn take_ready(
        &self,
        area: &impl Area,
        rest_pages: usize,
        open: impl FnOnce(&[SlotId]) -> bool,
    ) -> Option<Taken> {
        if self.ready_count.get() == 0 {
            let mut ids = [SlotId(0); READY_MAX];
            let mut count = 0;
            while count < READY_MAX
                && let Some(taken) = self.take_slot(area, 0, rest_pages)
            {
                ids[count] = taken.id;
                count += 1;
                if area.slot(taken.id).has_mark(OPENED | PROTECTED) {
                    break;
                }
            }
            let is_plain = ids[..count].iter().all(|&id| !area.slot(id).has_mark(OPENED | PROTECTED));
            if !is_plain || !open(&ids[..count]) {
                // The last one is served as it is, the others come again.
                let last = count.checked_sub(1)?;
                ids[..last].iter().rev().for_each(|&id| push_first(area, &self.lists[0], id));
                area.slot(ids[last]).set_mark(OWNED);
                return Some(Taken::new(ids[last], Kind::Slots(0)));
            }
            // The first that was taken is to be the first that is used.
            for (place, id) in self.ready.iter().zip(ids[..count].iter().rev()) {
                place.set(id.0);
            }
            self.ready_count.set(count);
        }
        let last = self.ready_count.get().checked_sub(1)?;
        self.ready_count.set(last);
        area.slot(SlotId(self.ready[last].get())).set_mark(OWNED);
        Some(Taken { is_open: true, ..Taken::new(SlotId(self.ready[last].get()), Kind::Slots(0)) })
    }

    fn take_slot(&self, area: &impl Area, size: usize, rest_pages: usize) -> Option<Taken> {
        let list = &self.lists[size];
        self.take_over(area, size, list);
        let rest_slots = (rest_pages / (DATA_PAGES[size] + 1)).max(REST_SLOTS_MIN);
        let id = if list.len.get() > rest_slots {
            pop(area, list)
        } else {
            self.cut(area, size).or_else(|| pop(area, list))
        }?;
        Some(Taken::new(id, Kind::Slots(size)))
    }

    /// A slot that was never used.
    fn cut(&self, area: &impl Area, size: usize) -> Option<SlotId> {
        let (chunk, next) = self.cutting[size].get();
        if chunk != 0 && (next as usize) < slots_per_chunk(size) {
            self.cutting[size].set((chunk, next + 1));
            return Some(area.id(chunk as usize - 1, next as usize));
        }
        let chunk = self.make(area, 1, |_| Kind::Slots(size))?;
        self.cutting[size].set((chunk as u32 + 1, 1));
        Some(area.id(chunk, 0))
    }

    fn take_run(&self, area: &impl Area, pages: usize, rest_pages: usize) -> Option<Taken> {
        self.take_over(area, SIZE_COUNT, &self.runs);
        let chunks = chunks_of_run(pages);
        let rest = (rest_pages * crate::layout::PAGE_BYTES / CHUNK_BYTES / chunks).max(2);
        let fresh = |pool: &Pool| {
            let kind = |nth| if nth == 0 { Kind::Run(chunks) } else { Kind::Inside(nth) };
            pool.make(area, chunks, kind).map(|chunk| area.id(chunk, 0))
        };
        let alike = self.count_runs(area, chunks);
        let id = if alike > rest {
            self.pop_run(area, chunks)
        } else {
            fresh(self).or_else(|| self.pop_run(area, chunks))
        }?;
        Some(Taken::new(id, Kind::Run(chunks)))
    }

    fn count_runs(&self, area: &impl Area, chunks: usize) -> usize {
        let alike = |id: &SlotId| kind_of(area, chunk_of(*id)) == Kind::Run(chunks);
        walk(area, &self.runs).filter(alike).count()
    }

    /// The oldest run of exactly so many chunks.
    fn pop_run(&self, area: &impl Area, chunks: usize) -> Option<SlotId> {
        for _ in 0..self.runs.len.get() {
            let id = pop(area, &self.runs)?;
            if kind_of(area, chunk_of(id)) == Kind::Run(chunks) {
                return Some(id);
            }
            push(area, &self.runs, id);
        }
        None
    }

    fn make(&self, area: &impl Area, count: usize, kind: impl Fn(usize) -> Kind) -> Option<usize> {
        let first = self.chunk_next.get();
        if first + count > area.layout().chunk_count() || !area.make_chunks(first, count) {
            return None;
        }
        for nth in 0..count {
            // Release: who sees the kind sees the records, which are zero.
            area.kind(first + nth).store(kind(nth).to_word(), Ordering::Release);
        }
        self.chunk_next.set(first + count);
        Some(first)
    }

    /// A slot is free, and its pages are closed. Without the lock.
    pub(crate) fn give_back(&self, area: &impl Area, id: SlotId, kind: Kind) {
        let stack = match kind {
            Kind::Slots(size) => &self.returned[size],
            _ => &self.returned[SIZE_COUNT],
        };
        stack.push(id, area.slot(id));
    }

    fn take_over(&self, area: &impl Area, index: usize, list: &List) {
        let mut id = self.returned[index].take_all();
        // The last one that was pushed is the first of the stack, and is to be the last of the list.
        let mut reversed = 0;
        while id != 0 {
            let next = area.slot(SlotId(id)).next.swap(reversed, Ordering::Relaxed);
            reversed = id;
            id = next;
        }
        while reversed != 0 {
            let slot = area.slot(SlotId(reversed));
            let next = slot.next.load(Ordering::Relaxed);
            slot.take_mark(OWNED);
            push(area, list, SlotId(reversed));
            reversed = next;
        }
    }

    /// Makes the lists anew: what they held may be half changed, as a fork left the lock behind. `is_free` tells by its state whether a slot is free. One that
    /// is somebody's all the same is in the hands of the thread that the fork interrupted, which goes on, or of one that is not there.
    pub(crate) fn rebuild(&self, area: &impl Area, is_free: impl Fn(&Slot) -> bool) {
        for stack in &self.returned {
            let mut id = stack.take_all();
            while id != 0 {
                let slot = area.slot(SlotId(id));
                slot.take_mark(OWNED);
                id = slot.next.load(Ordering::Relaxed);
            }
        }
        for list in self.lists.iter().chain([&self.runs]) {
            list.first.set(0);
            list.last.set(0);
            list.len.set(0);
        }
        self.cutting.iter().for_each(|cutting| cutting.set((0, 0)));
        // Their pages are open, and may have been written to.
        for ready in &self.ready[..self.ready_count.replace(0)] {
            area.slot(SlotId(ready.get())).set_mark(DIRTY);
        }
        let mut chunk = 0;
        while chunk < area.layout().chunk_count() {
            let kind = kind_of(area, chunk);
            let (slots, list, chunks) = match kind {
                Kind::Unused => break,
                Kind::Slots(size) => (slots_per_chunk(size), &self.lists[size], 1),
                Kind::Run(chunks) => (1, &self.runs, chunks),
                Kind::Inside(_) => (0, &self.runs, 1),
            };
            for id in (0..slots).map(|index| area.id(chunk, index)) {
                if is_free(area.slot(id)) && !area.slot(id).has_mark(OWNED) {
                    push(area, list, id);
                }
            }
            chunk += chunks;
        }
        self.chunk_next.set(chunk);
    }
}

fn chunk_of(id: SlotId) -> usize {
    (id.0 as usize - 1) / crate::layout::SLOTS_PER_CHUNK_MAX
}

fn kind_of(area: &impl Area, chunk: usize) -> Kind {
    Kind::from_word(area.kind(chunk).load(Ordering::Acquire))
}

fn push(area: &impl Area, list: &List, id: SlotId) {
    area.slot(id).next.store(0, Ordering::Relaxed);
    match list.last.get() {
        0 => list.first.set(id.0),
        last => area.slot(SlotId(last)).next.store(id.0, Ordering::Relaxed),
    }
    list.last.set(id.0);
    list.len.set(list.len.get() + 1);
}

/// For one that was taken in vain: it is the next again.
fn push_first(area: &impl Area, list: &List, id: SlotId) {
    area.slot(id).next.store(list.first.get(), Ordering::Relaxed);
    if list.first.replace(id.0) == 0 {
        list.last.set(id.0);
    }
    list.len.set(list.len.get() + 1);
}

fn pop(area: &impl Area, list: &List) -> Option<SlotId> {
    let first = list.first.get();
    if first == 0 {
        return None;
    }
    let next = area.slot(SlotId(first)).next.load(Ordering::Relaxed);
    list.first.set(next);
    if next == 0 {
        list.last.set(0);
    }
    list.len.set(list.len.get() - 1);
    Some(SlotId(first))
}

fn walk<A: Area>(area: &A, list: &List) -> impl Iterator<Item = SlotId> {
    let mut at = list.first.get();
    core::iter::from_fn(move || {
        let id = (at != 0).then_some(SlotId(at))?;
        at = area.slot(id).next.load(Ordering::Relaxed);
        Some(id)
    })
}
