//! Keeping stacks: by many threads at once, in fork children, until there is no room.

extern crate std;

use super::tests_of_walking::difference;
use super::*;
use crate::STACK_FRAMES_MAX;
use crate::unwind::tests::*;
use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::vec::Vec;

/// A made-up stack.
fn trace(number: u64) -> Trace {
    let frames: Vec<u64> = (0..1 + number % 17).map(|i| 0x5500_0000_0000 + number * 64 + i * 4).collect();
    Trace::of_frames(&frames)
}

fn keep(stacks: &Stacks, trace: &Trace) -> StackId {
    stacks.keep(stacks.region.words_or_map().unwrap(), 1, trace)
}

fn is_kept(stacks: &Stacks, id: StackId, trace: &Trace) -> bool {
    let mut frames = [0; STACK_FRAMES_MAX];
    let (count, state) = stacks.frames(id, &mut frames);
    frames[..count] == *trace.words() && state == trace.state
}

#[test]
fn threads_that_keep_the_same_and_other_stacks_agree() {
    static STACKS: Stacks = Stacks::new();
    const THREADS: u64 = 4;
    const SHARED: u64 = 30_000;
    let start = Barrier::new(THREADS as usize);
    let work = |thread: u64| {
        start.wait();
        let mut shared = Vec::new();
        for number in 0..SHARED {
            shared.push(keep(&STACKS, &trace(number)));
            let own = trace(1_000_000 * (thread + 1) + number / 4);
            assert!(is_kept(&STACKS, keep(&STACKS, &own), &own));
        }
        shared
    };
    let ids: Vec<Vec<StackId>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|other| *other == ids[0]));
    assert_eq!(ids[0].iter().collect::<HashSet<_>>().len(), SHARED as usize);
    for (number, id) in ids[0].iter().enumerate() {
        assert!(is_kept(&STACKS, *id, &trace(number as u64)));
    }
    assert_eq!(STACKS.dropped(), 0);
}

#[test]
fn the_same_frames_that_end_in_another_way_are_another_stack() {
    static STACKS: Stacks = Stacks::new();
    let whole = trace(5);
    let mut broken = trace(5);
    broken.state = StackState::Broken;
    let (first, second) = (keep(&STACKS, &whole), keep(&STACKS, &broken));
    assert_ne!(first, second);
    assert!(is_kept(&STACKS, first, &whole) && is_kept(&STACKS, second, &broken));
    assert_eq!(keep(&STACKS, &whole), first);
}

#[test]
fn addresses_that_no_code_has_are_kept_as_they_are() {
    static STACKS: Stacks = Stacks::new();
    let frames = [0x5555_0000_1000, u64::MAX - 5, 0x1234_5678_9abc_def0, 0];
    let damaged = Trace::of_frames(&frames);
    assert!(is_kept(&STACKS, keep(&STACKS, &damaged), &damaged));
    let (count, _) = STACKS.frames(keep(&STACKS, &damaged), &mut [0; STACK_FRAMES_MAX]);
    assert_eq!(count, frames.len());
}

#[test]
fn a_full_store_drops_new_stacks_and_knows_the_old_ones() {
    static STACKS: Stacks = Stacks::with_room(64 << 10);
    let ids: Vec<StackId> = (0..2000).map(|number| keep(&STACKS, &trace(number))).collect();
    let kept = ids.iter().filter(|id| !id.is_none()).count();
    assert!((100..1900).contains(&kept), "{kept}");
    assert_eq!(STACKS.dropped(), 2000 - kept as u64);
    for (number, id) in ids.iter().enumerate().filter(|(_, id)| !id.is_none()) {
        assert_eq!(keep(&STACKS, &trace(number as u64)), *id);
    }
    assert_eq!(STACKS.frames(StackId::NONE, &mut [0; STACK_FRAMES_MAX]), (0, StackState::Absent));
}

#[test]
fn a_full_index_drops_new_stacks_and_knows_the_old_ones() {
    static STACKS: Stacks = Stacks::new();
    const ALL: u64 = 900_000;
    let short = |number: u64| Trace::of_frames(&[0x5500_0000_0000 + number]);
    let ids: Vec<StackId> = (0..ALL).map(|number| keep(&STACKS, &short(number))).collect();
    let kept = ids.iter().filter(|id| !id.is_none()).count() as u64;
    assert_eq!((kept, STACKS.dropped()), (3 << 18, ALL - (3 << 18)));
    for number in (0..kept).step_by(100) {
        assert_eq!(keep(&STACKS, &short(number)), ids[number as usize]);
    }
}

#[test]
fn ids_of_nothing_give_no_frames_and_no_fault() {
    static STACKS: Stacks = Stacks::new();
    assert_eq!(STACKS.frames(StackId::from_number(7), &mut [0; 64]), (0, StackState::Absent));
    keep(&STACKS, &trace(3));
    for number in [2, 1000, u32::MAX / 2, u32::MAX] {
        STACKS.frames(StackId::from_number(number), &mut [0; 64]);
        STACKS.for_each_module_of(StackId::from_number(number), |_| {});
    }
}

/// Forks in the midst of other threads' insertions; the child goes on by itself, also with a table that was
/// just being copied.
#[test]
fn a_fork_child_goes_on_with_its_own_copy() {
    static STACKS: Stacks = Stacks::new();
    static STOP: AtomicBool = AtomicBool::new(false);
    static KEPT: AtomicU32 = AtomicU32::new(0);
    let threads: Vec<_> = (0..2u64)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut number = thread * 10_000_000;
                while !STOP.load(Ordering::Relaxed) && number % 10_000_000 < 60_000 {
                    keep(&STACKS, &trace(number));
                    KEPT.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
            })
        })
        .collect();
    let traces: Vec<Trace> = (0..20_000).map(|number| trace(90_000_000 + number)).collect();
    for _ in 0..8 {
        // SAFETY: the child only captures, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let kept = traces.iter().all(|trace| {
                let id = keep(&STACKS, trace);
                is_kept(&STACKS, id, trace) && keep(&STACKS, trace) == id
            });
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!kept)) };
        }
        let mut status = 0;
        // SAFETY: the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }
    STOP.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(KEPT.load(Ordering::Relaxed) > 0);
}

/// Two libraries of the same layout, whose function has another frame.
const COMES_AND_GOES_C: &str = r#"
__attribute__((noinline)) void run(void (*f)(void)) {
    volatile char room[ROOM];
    room[0] = 1;
    f();
    room[1] = 2;
}
"#;

static MOVING: Stacks = Stacks::new();
static LAST: AtomicU32 = AtomicU32::new(0);

extern "C" fn compare_and_keep() {
    let registers = Registers::capture();
    assert_eq!(difference(&MOVING, &registers), None);
    LAST.store(MOVING.capture(&registers, Innermost::AtCapture).get(), Ordering::Relaxed);
}

fn modules_of(stacks: &Stacks, id: StackId) -> Vec<std::string::String> {
    let mut names = Vec::new();
    stacks.for_each_module_of(id, |module| {
        names.push(std::string::String::from_utf8_lossy(module.path).into_owned());
    });
    names
}

#[test]
fn code_that_came_to_the_same_place_is_walked_by_its_own_rules() {
    let mut stacks = Vec::new();
    let mut places = Vec::new();
    for (name, room) in [("comes-a", "-DROOM=40"), ("comes-b", "-DROOM=104"), ("comes-c", "-DROOM=72")] {
        let flags = ["-O2", "-fomit-frame-pointer", room];
        let Some((handle, run)) = load(name, &flags, COMES_AND_GOES_C, "run") else { return };
        MOVING.modules_changed();
        // SAFETY: `run` calls back once.
        unsafe { as_call_back(run)(compare_and_keep) };
        stacks.push((name, StackId::from_number(LAST.load(Ordering::Relaxed))));
        places.push(run as usize);
        MOVING.modules_changed();
        unload(handle);
        MOVING.modules_changed();
    }
    // Where the loader takes the same place again, which it need not.
    std::eprintln!("the same place: {}", places.iter().all(|place| *place == places[0]));
    let generations: Vec<u32> = stacks.iter().map(|(_, id)| MOVING.generation_of(*id)).collect();
    assert!(generations.is_sorted() && generations[0] < generations[2], "{generations:?}");
    for (name, id) in &stacks {
        let modules = modules_of(&MOVING, *id);
        assert_eq!(modules.iter().filter(|path| path.contains("comes-")).count(), 1, "{modules:?}");
        assert!(modules.iter().any(|path| path.contains(name)), "{modules:?}");
        // The program's own path is empty.
        assert!(modules.iter().any(|path| path.is_empty()), "{modules:?}");
    }
}
