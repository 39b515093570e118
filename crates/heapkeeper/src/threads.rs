//! The ends of threads, and forks.

use crate::guarding::{thread_names, trap};
use crate::process::{Host, ProcessHeap};
use core::ffi::c_void;
use core::sync::atomic::Ordering;
use hk_format::ProcessOrigin;

/// Other keys' destructors run in up to four rounds (PTHREAD_DESTRUCTOR_ITERATIONS) and may free and
/// allocate; the heap is given up in the third, when the usual ones are through.
const LAST_ROUND: usize = 3;

impl<H: Host> ProcessHeap<H> {
    pub(crate) fn create_thread_key(&self) {
        let mut key = 0;
        // SAFETY: `key` is a valid place; the destructor has the right type.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends::<H>)) } == 0 {
            self.thread_key.store(key + 1, Ordering::Release);
        }
    }

    /// Has `thread_ends` called at the calling thread's end.
    pub(crate) fn watch_thread_exit(&self) {
        self.arm_thread_exit(1);
    }

    fn arm_thread_exit(&self, round: usize) {
        if let Some(key) = self.thread_key.load(Ordering::Acquire).checked_sub(1) {
            // SAFETY: our own key. glibc keeps the first 32 keys in the thread's descriptor; should ours be a later one, it allocates
            // from us, and the calling thread has a heap by now.
            unsafe { libc::pthread_setspecific(key, core::ptr::without_provenance(round)) };
        }
    }

    /// In a fork child: findings and figures are its own from here on.
    pub(crate) fn become_fork_child() {
        let process = H::process();
        process.stop.forget_others();
        thread_names::forget_thread_id();
        trap::forget_others();
        process.live.forget_parent();
        process.count_guarded_anew();
        process.forget_sweep();
        // The heap may have noticed the fork before libc called us.
        if !process.is_recorded() {
            process.record_process(ProcessOrigin::Fork);
        }
        process.watch_requests();
    }

    pub(crate) fn watch_forks(&self) {
        // SAFETY: handlers of the right type, which stay loaded.
        unsafe {
            libc::pthread_atfork(
                Some(before_fork::<H>),
                Some(after_in_parent::<H>),
                Some(after_in_child::<H>),
            )
        };
    }
}

unsafe extern "C" fn thread_ends<H: Host>(round: *mut c_void) {
    let process = H::process();
    if round.addr() < LAST_ROUND {
        return process.arm_thread_exit(round.addr() + 1);
    }
    process.guarding.stacks.thread_ends();
    thread_names::note_last_name(&process.guarding.names);
    let heap = process.current();
    if !heap.is_sentinel() {
        process.set_current(&process.ended);
        process.heap.detach(heap);
    }
}

unsafe extern "C" fn before_fork<H: Host>() {
    // In this order, as whoever holds the guards' lock may want the heap's.
    H::process().guarding.guards.prepare_fork();
    H::process().heap.prepare_fork();
}

unsafe extern "C" fn after_in_parent<H: Host>() {
    H::process().heap.after_fork_in_parent();
    H::process().guarding.guards.after_fork_in_parent();
}

unsafe extern "C" fn after_in_child<H: Host>() {
    let process = H::process();
    process.heap.after_fork_in_child(process.current());
    process.guarding.guards.after_fork_in_child();
    ProcessHeap::<H>::become_fork_child();
}
