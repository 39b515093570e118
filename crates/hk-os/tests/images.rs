//! An image has what the process had when it was made, and nothing of the process's own.

#![allow(unsafe_code, reason = "system calls")]

use hk_os::{ImageState, Linux, Os, become_image, end_image, fork_image, kill_image, poll_image};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What both sides see, and what each has for itself.
struct Both {
    shared: &'static AtomicU32,
    own: AtomicU32,
}

const STACK_BYTES: usize = 64 << 10;

fn memory(flags: i32, bytes: usize) -> usize {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags | libc::MAP_ANONYMOUS, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.expose_provenance()
}

fn both() -> Both {
    let page: *const AtomicU32 = std::ptr::with_exposed_provenance(memory(libc::MAP_SHARED, 4096));
    // SAFETY: a page of zeros, never unmapped.
    Both { shared: unsafe { &*page }, own: AtomicU32::new(1) }
}

fn image_of(both: &Both, entry: hk_os::ImageEntry) -> u32 {
    let stack = memory(libc::MAP_PRIVATE, STACK_BYTES);
    let mask = Linux.block_signals();
    // SAFETY: the stack is new, signals are blocked, and the entries here make system calls alone.
    let image =
        unsafe { fork_image(stack + STACK_BYTES, entry, std::ptr::from_ref(both).expose_provenance()) };
    Linux.restore_signals(mask);
    image.unwrap()
}

/// # Safety
/// That of an entry.
unsafe fn argument<'a>(argument: usize) -> &'a Both {
    let both: *const Both = std::ptr::with_exposed_provenance(argument);
    // SAFETY: the caller's word.
    unsafe { &*both }
}

extern "C" fn looks(address: usize) -> ! {
    // SAFETY: of this entry.
    let both = unsafe { argument(address) };
    if become_image(None) {
        while both.shared.load(Ordering::SeqCst) != 1 {
            std::hint::spin_loop();
        }
        // SAFETY: asks for the flags of a descriptor that there is not.
        let is_open = unsafe { libc::syscall(libc::SYS_fcntl, 0, libc::F_GETFD) } >= 0;
        let own = both.own.load(Ordering::SeqCst);
        both.shared.store(if is_open { 99 } else { 10 + own }, Ordering::SeqCst);
    }
    end_image()
}

extern "C" fn stays(_address: usize) -> ! {
    become_image(None);
    loop {
        std::hint::spin_loop();
    }
}

#[test]
#[cfg_attr(miri, ignore = "makes processes")]
fn it_is_the_process_of_that_moment() {
    let both = both();
    let image = image_of(&both, looks);
    both.own.store(2, Ordering::SeqCst);
    // No plain wait sees it.
    // SAFETY: no status is wanted.
    let waited = unsafe { libc::waitpid(image as i32, std::ptr::null_mut(), libc::WNOHANG) };
    assert_eq!((waited, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ECHILD)));
    assert_eq!(poll_image(image), ImageState::Runs);
    both.shared.store(1, Ordering::SeqCst);
    while poll_image(image) == ImageState::Runs {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(both.shared.load(Ordering::SeqCst), 11);
}

#[test]
#[cfg_attr(miri, ignore = "makes processes")]
fn one_that_was_ended_is_told_and_leaves_nothing() {
    let both = both();
    let image = image_of(&both, stays);
    kill_image(image);
    // SAFETY: no signal is sent.
    assert_eq!(unsafe { libc::kill(image as i32, 0) }, -1, "it was waited for");
    // Again it is nobody's.
    kill_image(image);
    let image = image_of(&both, stays);
    // SAFETY: our own.
    unsafe { libc::kill(image as i32, libc::SIGSEGV) };
    // SAFETY: as above. A blocked signal that the processor did not cause waits.
    unsafe { libc::kill(image as i32, libc::SIGKILL) };
    let ended = loop {
        match poll_image(image) {
            ImageState::Runs => std::thread::sleep(Duration::from_millis(1)),
            ImageState::Ended(signal) => break signal,
            ImageState::Lost => panic!("nobody else waits for it"),
        }
    };
    assert_eq!(ended, libc::SIGKILL);
}
