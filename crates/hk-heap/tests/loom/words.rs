//! One word: its owner, who frees and refills, against other threads that free.

use crate::explore;
use hk_heap::word::Word;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Mutex;

const BLOCK: [u64; 2] = [1, 2];
/// The word has two blocks.
const ABSENT: u64 = !3;

/// What happened to a block. Not part of the model: loom does not see it, so it orders nothing.
#[derive(Clone, Copy, Default)]
struct Tally {
    hand_outs: u32,
    /// Frees that were not refused.
    accepted: u32,
    /// Double frees seen, by the freer or later by the owner.
    reports: u32,
}

/// Both blocks are live at first.
struct Model {
    word: Word,
    claims: AtomicU32,
    tallies: Mutex<[Tally; 2]>,
    /// What the program keeps in the blocks: loom fails if two use one at once, or without having to see the
    /// other's writes.
    contents: [UnsafeCell<u32>; 2],
    /// Frees by other threads that have returned.
    returned: AtomicU32,
}

impl Model {
    fn new() -> Arc<Self> {
        let live = Tally { hand_outs: 1, ..Tally::default() };
        Arc::new(Model {
            word: Word::with_freed(ABSENT),
            claims: AtomicU32::new(0),
            tallies: Mutex::new([live; 2]),
            contents: [UnsafeCell::new(0), UnsafeCell::new(0)],
            returned: AtomicU32::new(0),
        })
    }

    fn tally(&self, block: usize, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tallies.lock().unwrap()[block]);
    }

    fn use_block(&self, block: usize) {
        // SAFETY: loom checks that nobody else is in.
        self.contents[block].with_mut(|content| unsafe { *content += 1 });
    }

    fn free_remote(&self, block: usize) {
        let double = self.word.free_remote(BLOCK[block], &self.claims, || true).double;
        self.tally(block, |t| if double { t.reports += 1 } else { t.accepted += 1 });
        self.returned.fetch_add(1, Ordering::Release);
    }

    fn free_local(&self, block: usize) {
        let double = !self.word.free_local(BLOCK[block].trailing_zeros() as usize);
        self.tally(block, |t| if double { t.reports += 1 } else { t.accepted += 1 });
    }

    /// Files what other threads freed.
    fn claim(&self) {
        let doubles = self.word.claim(&self.claims, false, |_| ()).doubles;
        for (block, bit) in BLOCK.iter().enumerate() {
            if doubles & bit != 0 {
                self.tally(block, |t| {
                    t.accepted -= 1;
                    t.reports += 1;
                });
            }
        }
    }

    /// What a refill of the heap does with a word. False if nothing is free.
    fn refill(&self) -> bool {
        while self.word.has_remote() {
            self.claim();
        }
        let chosen = self.word.freed() & !ABSENT;
        if chosen != 0 {
            self.word.expose(chosen);
        }
        chosen != 0
    }

    fn take(&self) -> Option<usize> {
        let block = self.word.take()? as usize;
        self.tally(block, |t| t.hand_outs += 1);
        Some(block)
    }

    /// When all threads are done: no block is in two sets, and those are live that were handed out once more
    /// than freed.
    fn check(&self) -> [Tally; 2] {
        self.word.unexpose();
        self.claim();
        assert_eq!(self.word.overlap(), 0, "a block in two sets");
        let tallies = *self.tallies.lock().unwrap();
        for (block, tally) in tallies.iter().enumerate() {
            assert!(tally.accepted <= tally.hand_outs, "block {block} freed more often than handed out");
            let live = u32::from(self.word.live() & BLOCK[block] != 0);
            assert_eq!(live, tally.hand_outs - tally.accepted, "block {block}: live or not");
        }
        tallies
    }
}

/// A program without mistakes: no report, contents are never shared, and nothing is lost.
///
/// Seen to fail: without the fence's acquire side, that is, with Relaxed RMWs in `free_remote` and `claim`
/// (contents race); with a claim that drops what came since its load.
#[test]
fn frees_by_others_come_back_once() {
    explore(|| {
        let model = Model::new();
        let freers = [0, 1].map(|block| {
            let model = model.clone();
            thread::spawn(move || {
                model.use_block(block);
                model.free_remote(block);
            })
        });
        for _ in 0..2 {
            if model.refill() {
                while let Some(block) = model.take() {
                    model.use_block(block);
                    model.free_local(block);
                }
            }
        }
        freers.into_iter().for_each(|freer| freer.join().unwrap());
        let tallies = model.check();
        assert!(tallies.iter().all(|t| t.reports == 0), "a right free was refused");
        assert_eq!(model.word.live(), 0, "a free was lost");
    });
}

/// Two threads free one block, while the owner refills.
#[test]
fn two_others_free_one_block() {
    explore(|| {
        let model = Model::new();
        let freers = [0, 1].map(|_| {
            let model = model.clone();
            thread::spawn(move || model.free_remote(0))
        });
        refill_and_check_doubles(&model, 2, 1);
        freers.into_iter().for_each(|freer| freer.join().unwrap());
        check_one_surplus(&model);
    });
}

/// The owner and another thread free one block.
#[test]
fn owner_and_another_free_one_block() {
    explore(|| {
        let model = Model::new();
        let freer = {
            let model = model.clone();
            thread::spawn(move || model.free_remote(0))
        };
        model.free_local(0);
        refill_and_check_doubles(&model, 1, 1);
        freer.join().unwrap();
        check_one_surplus(&model);
    });
}

/// The owner frees a block that two others free too.
#[test]
fn owner_and_two_others_free_one_block() {
    explore(|| {
        let model = Model::new();
        let freers = [0, 1].map(|_| {
            let model = model.clone();
            thread::spawn(move || model.free_remote(0))
        });
        model.free_local(0);
        refill_and_check_doubles(&model, 2, 2);
        freers.into_iter().for_each(|freer| freer.join().unwrap());
        model.check();
    });
}

/// Refills and takes block 0 if it can. If all frees by others had returned by then, all that were too many are
/// reported by then, and the block that was handed out stays live.
fn refill_and_check_doubles(model: &Model, frees_by_others: u32, surplus: u32) {
    if !model.refill() {
        return;
    }
    let all_returned = model.returned.load(Ordering::Acquire) == frees_by_others;
    let block = model.take().expect("the word was refilled");
    assert_eq!(block, 0, "block 1 was never freed");
    if all_returned {
        assert_eq!(
            model.tallies.lock().unwrap()[0].reports,
            surplus,
            "reports before the block is handed out"
        );
        model.claim();
        assert_ne!(model.word.live() & BLOCK[0], 0, "a stale free took a block from its new owner");
    }
}

/// When all threads are done: if the block was not handed out meanwhile, one free too many is one report.
fn check_one_surplus(model: &Model) {
    let tally = model.check()[0];
    if tally.hand_outs == 1 {
        assert_eq!((tally.accepted, tally.reports), (1, 1), "accepted and reported frees");
    }
}
