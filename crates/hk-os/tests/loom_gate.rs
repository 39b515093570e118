//! The gate at which threads are stopped, in every order of its steps: what a thread did before it came is seen by who stopped it, what that one did
//! meanwhile by the thread, and nobody runs in between. One thread gets its signal in time or too late.
#![cfg(hk_loom)]
#![allow(unsafe_code, reason = "what threads share")]

#[path = "../src/linux/stop/gate.rs"]
#[allow(dead_code, reason = "the model does not list threads")]
mod gate;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    pub(super) fn wait(_word: &AtomicU32, _expected: u32, _timeout_ms: u32) {
        loom::thread::yield_now();
    }

    pub(super) fn wake(_word: &AtomicU32, _count: i32) {}
}

use gate::{Gate, Slot};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use sync::{AtomicU32, AtomicU64, Ordering};

struct World {
    gate: Gate<1>,
    /// The signal: 0, or the epoch that it is of.
    sent: AtomicU32,
    /// What threads work on.
    data: UnsafeCell<u32>,
}

// SAFETY: loom checks that the data is not accessed by two at once.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

fn world() -> Arc<World> {
    let slot = Slot { thread: AtomicU32::new(0), state: AtomicU64::new(0) };
    let gate = Gate { epoch: AtomicU32::new(0), arrivals: AtomicU32::new(0), slots: [slot] };
    Arc::new(World { gate, sent: AtomicU32::new(0), data: UnsafeCell::new(0) })
}

fn add(world: &World) {
    // SAFETY: the gate's affair, which is what is tested.
    world.data.with_mut(|data| unsafe { *data += 1 });
}

/// By the thread that stops the other: if that one comes in time, the data is this one's. Else the stop is given up.
fn stop(world: &World) {
    world.gate.close();
    world.gate.expect(0, 7);
    // Release: as the kernel hands a signal over.
    world.sent.store(world.gate.epoch(), Ordering::Release);
    for _ in 0..PATIENCE {
        if world.gate.context(0).is_some() {
            add(world);
            break;
        }
        world.gate.wait_for_arrival(world.gate.arrivals());
    }
    world.gate.open();
}

/// The handler of the other, if it got the signal.
fn receive(world: &World) {
    // Acquire: see `stop`.
    let epoch = world.sent.load(Ordering::Acquire);
    if epoch != 0 {
        world.gate.pass(epoch, 0, 1);
    }
}

/// Looks before a stop is given up.
const PATIENCE: usize = 2;

#[test]
fn a_stopped_thread_leaves_all_to_who_stopped_it() {
    loom::model(|| {
        let world = world();
        let other = Arc::clone(&world);
        let thread = thread::spawn(move || {
            add(&other);
            receive(&other);
            add(&other);
        });
        stop(&world);
        thread.join().unwrap();
    });
}

#[test]
fn who_comes_too_late_does_not_count_for_the_next_stop() {
    loom::model(|| {
        let world = world();
        let other = Arc::clone(&world);
        // Given up while it comes.
        world.gate.close();
        world.gate.expect(0, 7);
        let stale = world.gate.epoch();
        let thread = thread::spawn(move || {
            other.gate.pass(stale, 0, 1);
            // Nobody has stopped it for another stop.
            add(&other);
        });
        world.gate.open();
        world.gate.close();
        world.gate.expect(0, 7);
        if world.gate.context(0).is_some() {
            add(&world);
        }
        world.gate.open();
        thread.join().unwrap();
    });
}
