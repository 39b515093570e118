//! A Rust program whose global allocator guards its blocks.
#![allow(unsafe_code, reason = "the bugs that are to be met")]

use heapkeeper::Heapkeeper;
use std::alloc::{Layout, dealloc};
use std::process::Command;

#[global_allocator]
static HEAP: Heapkeeper = Heapkeeper::new().guard(1);

/// Which bug this process is to make, when it is started anew.
const BUG: &str = "HEAPKEEPER_TEST_BUG";

fn use_after_free() {
    let order = Box::into_raw(Box::new([1u64; 8]));
    // SAFETY: from `into_raw`, once.
    drop(unsafe { Box::from_raw(order) });
    // SAFETY: none: it is the bug. The page is opened, and reads as zero.
    assert_eq!(unsafe { order.read_volatile() }, [0; 8]);
}

fn wrong_layout() {
    let order = Box::into_raw(Box::new([1u64; 8]));
    // SAFETY: none: it has another layout.
    unsafe { dealloc(order.cast(), Layout::new::<[u64; 4]>()) };
}

/// Gives the process's standard error.
fn started_anew(bug: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let output =
        Command::new(this).args(["the_bug", "--exact", "--nocapture"]).env(BUG, bug).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_bug() {
    match std::env::var(BUG).as_deref() {
        Ok("use-after-free") => use_after_free(),
        Ok("wrong-layout") => wrong_layout(),
        _ => {}
    }
}

#[test]
fn a_guarded_block_tells_of_its_misuse_and_the_program_goes_on() {
    let said = started_anew("use-after-free");
    assert!(said.contains("heapkeeper: use after free (CWE-416)") && said.contains("64 bytes"), "{said}");
    let said = started_anew("wrong-layout");
    assert!(said.contains("heapkeeper: deallocation with a wrong layout (CWE-762)"), "{said}");
    let said = started_anew("none");
    assert!(!said.contains("heapkeeper:"), "{said}");
}
