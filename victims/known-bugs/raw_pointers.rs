//! Bugs of unsafe Rust: `raw_pointers CLASS HOW BYTES DISTANCE LIFE bug|twin`, as the C programs beside it.

use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::ptr;

struct Bug {
    how: String,
    bytes: usize,
    distance: usize,
    elsewhere: bool,
    twin: bool,
}

#[inline(never)]
fn alloc_site(bytes: usize) -> ManuallyDrop<Vec<u8>> {
    ManuallyDrop::new(black_box(vec![b'a'; bytes]))
}

#[inline(never)]
fn free_site(block: &mut ManuallyDrop<Vec<u8>>) {
    // SAFETY: sound unless the bug is that it is called twice.
    unsafe { ManuallyDrop::drop(black_box(block)) };
    black_box(());
}

#[inline(never)]
fn bug_site(how: &str, at: *mut u8) {
    // SAFETY: none, in the program with the bug; the twin's addresses are sound.
    unsafe {
        match how {
            "read" => drop(black_box(ptr::read_volatile(at))),
            "write" => ptr::write_volatile(at, b'b'),
            "copy" => ptr::copy_nonoverlapping(black_box([1_u8; 64]).as_ptr(), at, 64),
            "drop" => drop(Vec::from_raw_parts(at, 0, 64)),
            _ => std::process::exit(64),
        }
    }
    black_box(());
}

fn make(bug: &Bug, at: *mut u8) {
    let (how, address) = (bug.how.clone(), at.expose_provenance());
    let body = move || bug_site(&how, ptr::with_exposed_provenance_mut(address));
    match bug.elsewhere {
        true => std::thread::spawn(body).join().expect("the thread ends"),
        false => body(),
    }
}

fn overrun(bug: &Bug) {
    let mut block = alloc_site(bug.bytes + if bug.twin { bug.distance } else { 0 });
    make(bug, block.as_mut_ptr().wrapping_add(bug.bytes + bug.distance - 1));
    free_site(&mut block);
}

fn use_after_free(bug: &Bug) {
    let mut block = alloc_site(bug.bytes);
    let at = block.as_mut_ptr().wrapping_add(bug.distance);
    if bug.twin {
        make(bug, at);
    }
    free_site(&mut block);
    if !bug.twin {
        make(bug, at);
    }
}

fn double_free(bug: &Bug) {
    let mut block = alloc_site(bug.bytes);
    let at = block.as_mut_ptr();
    free_site(&mut block);
    if !bug.twin {
        make(bug, at);
    }
}

fn invalid_free(bug: &Bug) {
    let mut block = alloc_site(bug.bytes);
    let at = block.as_mut_ptr().wrapping_add(bug.distance);
    if !bug.twin {
        make(bug, at);
    }
    free_site(&mut block);
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, class, how, bytes, distance, life, truth] = words.as_slice() else { std::process::exit(64) };
    let number = |word: &String| word.parse().expect("a number");
    let bug = Bug {
        how: how.clone(),
        bytes: number(bytes),
        distance: number(distance),
        elsewhere: life == "bug-elsewhere",
        twin: truth == "twin",
    };
    match class.as_str() {
        "overrun" => overrun(&bug),
        "use-after-free" => use_after_free(&bug),
        "double-free" => double_free(&bug),
        "invalid-free" => invalid_free(&bug),
        _ => std::process::exit(64),
    }
}
