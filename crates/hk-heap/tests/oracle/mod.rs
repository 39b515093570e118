//! An oracle: it knows every live block, what it holds, and which addresses are bad.
#![allow(dead_code, reason = "no test uses all of it")]

mod random;

use hk_heap::size_class::CLASS_BYTES_MAX;
use hk_heap::{At, Heap, ThreadHeap};
use hk_os::Os;
pub use random::Random;
use std::collections::BTreeMap;

struct Block {
    pointer: *mut u8,
    bytes: usize,
    fill: u8,
}

pub struct Oracle<'a, O: Os> {
    heap: &'a Heap<O>,
    random: Random,
    live: BTreeMap<usize, Block>,
    freed: Vec<*mut u8>,
}

impl<'a, O: Os> Oracle<'a, O> {
    pub fn new(heap: &'a Heap<O>, seed: u64) -> Self {
        Self::choosing_by(heap, Random::new(seed))
    }

    pub fn choosing_by(heap: &'a Heap<O>, random: Random) -> Self {
        Oracle { heap, random, live: BTreeMap::new(), freed: Vec::new() }
    }

    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// One random operation, checked.
    pub fn step(&mut self, thread: &ThreadHeap) {
        match self.random.below(100) {
            0..45 => self.allocate(thread),
            45..80 => self.free(thread),
            80..88 => self.reallocate(thread),
            88..93 => self.free_badly(thread),
            93..96 => self.ask_size(),
            96..98 => self.free_many(thread),
            _ => {
                self.heap.trim();
            }
        }
        if self.random.below(2000) == 0 {
            self.check_all();
        }
    }

    fn size(&mut self) -> usize {
        let limit = match self.random.below(20) {
            0 => 300_000,
            1..4 => CLASS_BYTES_MAX as u64 + 2,
            4..9 => 2000,
            _ => 200,
        };
        self.random.below(limit) as usize
    }

    fn allocate(&mut self, thread: &ThreadHeap) {
        let bytes = self.size();
        let (pointer, align, zero) = match self.random.below(4) {
            0 => {
                let align = 1usize << self.random.below(18);
                (self.heap.allocate_aligned(thread, bytes, align), align, false)
            }
            1 => (self.heap.allocate_zeroed(thread, bytes), 16, true),
            _ => (self.heap.allocate(thread, bytes), 16, false),
        };
        if pointer.is_null() {
            assert!(self.live.len() > 10, "no memory for {bytes} bytes");
            return self.free_many(thread);
        }
        assert_eq!(pointer.addr() % align, 0, "alignment {align}");
        if zero {
            // SAFETY: a new block of that size.
            let content = unsafe { std::slice::from_raw_parts(pointer, bytes) };
            assert!(content.iter().all(|&b| b == 0), "{bytes} bytes are not zero");
        }
        self.add(pointer, bytes);
    }

    fn add(&mut self, pointer: *mut u8, bytes: usize) {
        let usable = self.heap.usable_bytes(pointer).expect("a new block is live");
        assert!(usable >= bytes);
        let below = self.live.range(..pointer.addr()).next_back();
        assert!(below.is_none_or(|(&at, b)| at + b.bytes <= pointer.addr()), "overlaps the block below");
        let above = self.live.range(pointer.addr()..).next();
        assert!(above.is_none_or(|(&at, _)| pointer.addr() + usable <= at), "overlaps the block above");
        let fill = self.random.next() as u8;
        // SAFETY: a live block of that size.
        unsafe { pointer.write_bytes(fill, bytes) };
        self.freed.retain(|&p| p.addr() != pointer.addr());
        self.live.insert(pointer.addr(), Block { pointer, bytes, fill });
    }

    fn pick(&mut self) -> Option<usize> {
        let from = self.live.keys().next().copied()?;
        let to = self.live.keys().next_back().copied()?;
        let at = from + self.random.below((to - from + 1) as u64) as usize;
        self.live.range(at..).next().map(|(&key, _)| key)
    }

    fn take(&mut self) -> Option<Block> {
        let key = self.pick()?;
        let block = self.live.remove(&key)?;
        block.check(block.bytes);
        Some(block)
    }

    fn free(&mut self, thread: &ThreadHeap) {
        let Some(block) = self.take() else { return };
        self.heap.free(thread, block.pointer).expect("a live block can be freed");
        self.freed.push(block.pointer);
        if self.freed.len() > 64 {
            self.freed.remove(0);
        }
    }

    fn free_many(&mut self, thread: &ThreadHeap) {
        let count = self.live.len() / 2;
        for _ in 0..count {
            self.free(thread);
        }
    }

    fn reallocate(&mut self, thread: &ThreadHeap) {
        let Some(block) = self.take() else { return };
        let bytes = self.size();
        // SAFETY: a live block, which the oracle gives up.
        let moved = unsafe { self.heap.reallocate(thread, block.pointer, bytes) }.expect("a live block");
        if moved.is_null() {
            self.live.insert(block.pointer.addr(), block);
            return;
        }
        if moved != block.pointer {
            self.freed.push(block.pointer);
        }
        Block { pointer: moved, ..block }.check(block.bytes.min(bytes));
        self.add(moved, bytes);
    }

    /// Frees something that is not a live block: refused, and nothing changes.
    fn free_badly(&mut self, thread: &ThreadHeap) {
        let before = self.heap.count();
        if self.random.below(2) == 0 {
            if let Some(&pointer) = self.freed.last() {
                let misuse = self.heap.free(thread, pointer).expect_err("freed twice");
                assert!(
                    matches!(
                        misuse.at,
                        At::FreeBlock
                            | At::RetiredBlock
                            | At::InsideFreeBlock
                            | At::NoBlock
                            | At::InsideLiveBlock
                    ),
                    "{misuse:?}"
                );
            }
        } else if let Some(key) = self.pick() {
            let block = &self.live[&key];
            let usable = self.heap.usable_bytes(block.pointer).unwrap();
            let inside = 1 + self.random.below(usable as u64 - 1) as usize;
            let misuse =
                self.heap.free(thread, block.pointer.wrapping_add(inside)).expect_err("freed inside");
            assert_eq!(misuse.at, At::InsideLiveBlock);
            assert_eq!(misuse.block_start, key);
            assert_eq!(misuse.block_bytes, usable);
        }
        assert_eq!(self.heap.count(), before, "a refused free changed something");
    }

    fn ask_size(&mut self) {
        if let Some(&pointer) = self.freed.first() {
            assert!(self.heap.usable_bytes(pointer).is_err());
        }
    }

    fn check_all(&self) {
        for block in self.live.values() {
            block.check(block.bytes);
        }
        assert_eq!(self.heap.count().live_blocks, self.live.len() as u64);
        self.heap.verify();
    }

    /// Frees all that is left.
    pub fn finish(mut self, thread: &ThreadHeap) {
        self.check_all();
        while !self.live.is_empty() {
            self.free(thread);
        }
    }
}

impl Block {
    fn check(&self, bytes: usize) {
        // SAFETY: a live block of at least that size.
        let content = unsafe { std::slice::from_raw_parts(self.pointer, bytes) };
        assert!(content.iter().all(|&b| b == self.fill), "contents of a live block changed");
    }
}
