//! Every order of the racing steps of a slot and of a stack of slots, explored by loom on the code of the product.
//!
//! ```text
//! RUSTFLAGS="--cfg hk_loom" cargo test -p hk-guard --release --lib
//! ```

use crate::slot::{Event, Slot, SlotId, State};
use crate::slot_stack::SlotStack;
use loom::sync::Arc;
use loom::thread;

/// So many find every breakage that the models name.
const PREEMPTIONS: usize = 3;
const SLOTS: usize = 3;

struct Model {
    slots: [Slot; SLOTS],
    stack: SlotStack,
}

fn explore(model: impl Fn(Arc<Model>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.check(move || {
        model(Arc::new(Model { slots: core::array::from_fn(|_| Slot::empty()), stack: SlotStack::new() }));
    });
}

/// What a free of the block by a thread is.
fn event(thread: u32) -> Event {
    Event { stack: 100 + thread, thread, time_ns: 1000 + u64::from(thread) }
}

impl Model {
    fn slot(&self, id: u32) -> &Slot {
        &self.slots[id as usize - 1]
    }

    fn live(&self, id: u32) {
        self.slot(id).set_allocated(event(9));
        self.slot(id).set_state(State::Live);
    }

    /// As a free does it; true if it was the first.
    fn free(&self, id: u32, thread: u32) -> bool {
        let slot = self.slot(id);
        let is_first = slot.step(State::Live, State::Closing);
        if is_first {
            slot.set_freed(event(thread));
            slot.set_state(State::Freed);
            self.stack.push(SlotId(id), slot);
        }
        is_first
    }

    /// The slots that lie on the stack, the last one first.
    fn take_all(&self) -> impl Iterator<Item = u32> {
        let mut next = self.stack.take_all();
        core::iter::from_fn(move || {
            let id = (next != 0).then_some(next)?;
            next = self.slot(id).next.load(crate::sync::Ordering::Relaxed);
            Some(id)
        })
    }
}

/// Breaks if `push` or `take_all` is relaxed.
#[test]
fn each_freed_slot_is_taken_once_and_as_its_free_left_it() {
    explore(|model| {
        (1..=SLOTS as u32).for_each(|id| model.live(id));
        let freers: [_; 2] = core::array::from_fn(|thread| {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                assert!(model.free(1 + thread as u32, thread as u32));
            })
        });
        let mut taken = [0; SLOTS];
        let mut take = || {
            for id in model.take_all() {
                taken[id as usize - 1] += 1;
                assert_eq!(model.slot(id).freed(), event(id - 1), "what the free wrote");
            }
        };
        take();
        freers.into_iter().for_each(|freer| freer.join().unwrap());
        take();
        assert_eq!(taken, [1, 1, 0]);
    });
}

/// Breaks if the step from LIVE is a load and a store.
#[test]
fn of_racing_frees_one_is_the_first() {
    explore(|model| {
        model.live(1);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.free(1, 1))
        };
        let ours = model.free(1, 2);
        assert!(other.join().unwrap() != ours);
        assert_eq!(model.take_all().collect::<std::vec::Vec<_>>(), [1], "once on the stack");
    });
}

/// Breaks if the time of a free is relaxed: it tells that the rest is there.
#[test]
fn a_free_is_seen_whole_or_not_at_all() {
    explore(|model| {
        model.live(1);
        let other = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.free(1, 1))
        };
        let seen = model.slot(1).freed();
        assert!(seen == Event::default() || seen == event(1), "{seen:?}");
        assert!(other.join().unwrap());
    });
}
