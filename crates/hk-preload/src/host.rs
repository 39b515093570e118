//! The process's heap, and how it looks from here.

use crate::foreign;
use heapkeeper::process::{Host, ProcessHeap, ThreadHeap};
use hk_format::ProcessOrigin;
use hk_recorder::Innermost;

hk_os::thread_local_word!(mod slot = "heapkeeper_thread_heap", super::SENTINEL);

static SENTINEL: ThreadHeap = ThreadHeap::sentinel();

/// The heap of this process.
pub static PROCESS: ProcessHeap<Preloaded> = ProcessHeap::new();

/// The preloaded library as a host.
pub struct Preloaded;

impl Host for Preloaded {
    const INNERMOST: Innermost = Innermost::OutsideOwnModule;
    const ORIGIN: ProcessOrigin = ProcessOrigin::Program;
    const SEES_HANDLERS: bool = true;

    #[inline(always)]
    fn process() -> &'static ProcessHeap<Self> {
        &PROCESS
    }

    #[inline(always)]
    fn sentinel() -> &'static ThreadHeap {
        &SENTINEL
    }

    #[inline(always)]
    fn slot() -> usize {
        slot::get()
    }

    #[inline(always)]
    fn set_slot(value: usize) {
        slot::set(value);
    }

    fn fallback_allocate(bytes: usize, align: usize) -> *mut u8 {
        foreign::libc_allocate(bytes, align)
    }

    // The library has a destructor.
    fn watch_exit() {}

    fn no_memory() {
        hk_os::Errno::set(libc::ENOMEM);
    }

    fn free_foreign(block: *mut u8) -> bool {
        foreign::free(block)
    }

    fn reallocate_foreign(block: *mut u8, bytes: usize) -> Option<*mut u8> {
        foreign::reallocate(block, bytes)
    }

    fn foreign_usable_bytes(block: *mut u8) -> Option<usize> {
        foreign::usable_bytes(block)
    }
}
