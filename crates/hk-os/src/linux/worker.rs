//! A thread of our own, which libc does not know of: it lives for one piece of work.
//!
//! To libc the process keeps as many threads as it has, so that what is cheap or allowed for one thread alone stays so (streams without locks,
//! `__libc_single_threaded`). The work may call what needs nothing of a thread but `errno` and its number: no malloc, no thread-local of the
//! library. It runs with all signals blocked but that of stops. The thread has the credentials of who starts it, and ends soon, so that a
//! process that changes its user later leaves nobody behind.

use super::bare::system_call;
use super::{PAGE_BYTES, note_own_memory};
use crate::{Linux, Os};
use core::arch::{asm, naked_asm};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const STACK_BYTES: usize = 256 << 10;
/// What lies from the thread's pointer on: glibc's descriptor (`struct pthread`, some 2.3 KiB), all zero but for what is set below.
const DESCRIPTOR_BYTES: usize = 2 * PAGE_BYTES;
/// Of the descriptor (`tcbhead_t`, sysdeps/x86_64/nptl/tls.h): its own address, twice, and what guards stacks and pointers.
const SELF_AT: [usize; 2] = [0, 16];
const GUARDS_AT: [usize; 2] = [40, 48];
/// Nobody is there; somebody is about to be. Else the thread's number, which the kernel wipes when it has ended.
const NOBODY: u32 = 0;
const STARTING: u32 = u32::MAX;

/// A place for one such thread at a time.
#[derive(Debug)]
pub struct Worker {
    thread: AtomicU32,
    /// Its stack and descriptor, once there was a thread; 0: none yet. They stay.
    memory: AtomicUsize,
    bytes: AtomicUsize,
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    /// Nobody.
    pub const fn new() -> Self {
        Worker { thread: AtomicU32::new(NOBODY), memory: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Whether the thread is there.
    pub fn is_there(&self) -> bool {
        self.thread.load(Ordering::Acquire) != NOBODY
    }

    /// Has a new thread do `work`. False if one is there, or the system refuses.
    pub fn start(&'static self, work: extern "C" fn()) -> bool {
        let taken =
            self.thread.compare_exchange(NOBODY, STARTING, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !taken {
            return false;
        }
        let _errno = super::Errno::keep();
        let started = self.memory().is_some_and(|top| {
            let mask = Linux.block_signals();
            let started = self.start_on(top, work);
            Linux.restore_signals(mask);
            started
        });
        if !started {
            self.thread.store(NOBODY, Ordering::Release);
        }
        started
    }

    /// In a fork child, where the thread is not.
    pub fn forget(&self) {
        self.thread.store(NOBODY, Ordering::Release);
    }

    /// Waits until the thread has ended, or so long.
    pub fn wait_for_end(&self, timeout_ms: u32) {
        let thread = self.thread.load(Ordering::Acquire);
        if thread == NOBODY {
            return;
        }
        let timeout = libc::timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        // Not private, as the kernel's wake-up at a thread's end is not (CLONE_CHILD_CLEARTID, set_tid_address(2)).
        let arguments = [
            self.thread.as_ptr().addr(),
            libc::FUTEX_WAIT as usize,
            thread as usize,
            (&raw const timeout).addr(),
            0,
            0,
        ];
        // SAFETY: the word and the time live through the call, which reads them.
        unsafe { system_call(libc::SYS_futex, arguments) };
    }

    /// Where the descriptor begins, which is where the stack ends but for thread-local variables.
    fn memory(&self) -> Option<usize> {
        let below = bytes_below_descriptor();
        let stack_bytes = STACK_BYTES + below.next_multiple_of(PAGE_BYTES);
        let known = self.memory.load(Ordering::Acquire);
        if known != 0 {
            return Some(known + self.bytes.load(Ordering::Relaxed) - DESCRIPTOR_BYTES);
        }
        let bytes = PAGE_BYTES + stack_bytes + DESCRIPTOR_BYTES;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing existing.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: our own mapping, whose first page nobody uses.
        unsafe { libc::mprotect(start, PAGE_BYTES, libc::PROT_NONE) };
        note_own_memory(start.addr(), bytes);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.memory.store(start.expose_provenance(), Ordering::Release);
        Some(start.addr() + bytes - DESCRIPTOR_BYTES)
    }

    fn start_on(&self, descriptor: usize, work: extern "C" fn()) -> bool {
        let set = |at: usize, value: usize| {
            let place: *mut usize = core::ptr::with_exposed_provenance_mut(descriptor + at);
            // SAFETY: in our own mapping, which no thread uses at present.
            unsafe { place.write(value) };
        };
        SELF_AT.into_iter().for_each(|at| set(at, descriptor));
        GUARDS_AT.into_iter().for_each(|at| set(at, own_descriptor_word(at)));
        let stack_top = descriptor - bytes_below_descriptor().next_multiple_of(PAGE_BYTES);
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM
            | libc::CLONE_SETTLS
            | libc::CLONE_CHILD_CLEARTID
            | libc::CLONE_PARENT_SETTID;
        let word = self.thread.as_ptr();
        // SAFETY: a stack and a descriptor that no other thread uses; `word` is of a static.
        unsafe { clone_thread(flags as usize, stack_top, word, word, descriptor, work) > 0 }
    }
}

/// Thread-local variables lie right below a thread's descriptor, so far at most as anything is reached that is called here: `errno`, and
/// all that lies above it.
fn bytes_below_descriptor() -> usize {
    // SAFETY: no arguments.
    let errno = unsafe { libc::__errno_location() }.addr();
    own_descriptor_word(SELF_AT[0]).saturating_sub(errno) + PAGE_BYTES
}

/// A word of the calling thread's descriptor.
fn own_descriptor_word(at: usize) -> usize {
    let word: usize;
    // SAFETY: reads within the descriptor, which every thread of libc's has.
    unsafe { asm!("mov {}, fs:[{}]", out(reg) word, in(reg) at, options(nostack, readonly, pure)) };
    word
}

/// clone(2), whose child does `work` and ends. Gives the thread's number, or the error, less than 0.
///
/// # Safety
/// `stack_top` is that of a stack, a multiple of 16, and `descriptor` a descriptor, that nobody else uses.
#[unsafe(naked)]
unsafe extern "C" fn clone_thread(
    flags: usize,
    stack_top: usize,
    thread: *mut u32,
    ended: *mut u32,
    descriptor: usize,
    work: extern "C" fn(),
) -> isize {
    naked_asm!(
        "mov r10, rcx",
        "mov eax, {clone}",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        // The outermost frame of the thread, as for unwinders.
        "xor ebp, ebp",
        "call r9",
        "xor edi, edi",
        "mov eax, {exit}",
        "syscall",
        "ud2",
        "2:",
        "ret",
        clone = const libc::SYS_clone,
        exit = const libc::SYS_exit,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    static DONE: AtomicU32 = AtomicU32::new(0);
    static WORKER: Worker = Worker::new();

    extern "C" fn work() {
        // SAFETY: a call that fails, and says so in errno.
        let failed = unsafe { libc::close(-1) };
        let is_told = failed == -1 && crate::Errno::get() == libc::EBADF;
        DONE.store(if is_told { Linux.thread_token() as u32 | 1 } else { 0 }, Ordering::Release);
    }

    #[test]
    fn a_thread_of_ones_own_works_and_ends() {
        for _ in 0..100 {
            DONE.store(0, Ordering::Relaxed);
            assert!(WORKER.start(work));
            while WORKER.is_there() {
                WORKER.wait_for_end(1000);
            }
            let token = DONE.load(Ordering::Acquire);
            assert!(token != 0, "it has done its work, and has an errno of its own");
            assert_ne!(token, Linux.thread_token() as u32 | 1);
        }
    }
}
