//! Threads of a fork child want a lock that was copied held, or free.

use crate::explore;
use hk_heap::fork_mark::ForkMark;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

const FREE: u32 = 0;
const HELD: u32 = 1;
const THREADS: u32 = 2;

/// A lock as in `lock`, but for sleeping.
struct Model {
    mark: AtomicU32,
    state: AtomicU32,
    /// Holders so far: loom fails if two are in at once, or without seeing each other's writes.
    holders: UnsafeCell<u32>,
    recoveries: AtomicU32,
}

impl Model {
    fn lock(&self) {
        let mark = ForkMark::new(&self.mark);
        let mut taken_over = None;
        if mark.is_wiped() {
            let swap_held = || self.state.swap(HELD, Ordering::Acquire);
            taken_over = mark.take_over(swap_held, |_, _| thread::yield_now());
        }
        if taken_over == Some(HELD) {
            self.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        if taken_over.is_none() {
            while self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
                thread::yield_now();
            }
        }
    }

    fn use_once(&self) {
        self.lock();
        // SAFETY: what the lock is for; loom checks it.
        self.holders.with_mut(|count| unsafe { *count += 1 });
        self.state.store(FREE, Ordering::Release);
    }
}

fn child(state: u32, recoveries: u32) {
    explore(move || {
        let model = Arc::new(Model {
            mark: AtomicU32::new(0),
            state: AtomicU32::new(state),
            holders: UnsafeCell::new(0),
            recoveries: AtomicU32::new(0),
        });
        let others: Vec<_> = (1..THREADS)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || model.use_once())
            })
            .collect();
        model.use_once();
        model.use_once();
        others.into_iter().for_each(|other| other.join().unwrap());
        // SAFETY: the others have ended.
        assert_eq!(model.holders.with(|count| unsafe { *count }), THREADS + 1);
        assert_eq!(model.recoveries.load(Ordering::Relaxed), recoveries);
    });
}

#[test]
fn one_thread_takes_over_a_lock_that_was_held() {
    child(HELD, 1);
}

/// Without the wait of those that were not elected, or with the mark settled before the swap, two hold the lock.
#[test]
fn nobody_recovers_what_was_in_order() {
    child(FREE, 0);
}
