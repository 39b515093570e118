//! The program's start and end.

use crate::host::PROCESS;
use crate::next::{self, Next};
use crate::{arguments, exec, foreign, loading, operators, sandbox, signals, streams, system_calls};
use core::ffi::c_void;
use hk_format::{NoteKind, ProcessState};
use libc::c_int;

/// Run by the loader before main, after libc and most libraries have started.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        let _errno = hk_os::Errno::keep();
        next::begin();
        signals::begin();
        system_calls::begin();
        arguments::begin();
        streams::begin();
        operators::begin();
        loading::begin();
        sandbox::begin();
        PROCESS.start();
        PROCESS.configure();
        foreign::find_next();
        if !foreign::is_called() {
            PROCESS.recording().note(NoteKind::OwnMalloc, 0, b"");
        }
        exec::prepare();
    }
    constructor
};

/// Run by the loader at exit, after the program's own handlers.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = {
    extern "C" fn destructor() {
        PROCESS.look_for_leaks_at_exit();
        PROCESS.finish(ProcessState::Counted);
    }
    destructor
};

type Handler = Option<unsafe extern "C" fn()>;
type RegisterAtFork = unsafe extern "C" fn(Handler, Handler, Handler, *mut c_void) -> c_int;
static NEXT_REGISTER_ATFORK: Next = Next::new(c"__register_atfork");

/// What pthread_atfork(3) calls. Handlers that run before a fork run in the reverse order of their registration, and
/// others' may allocate: ours, which takes the heap's lock, has to be the first registered to be the last to run.
#[unsafe(no_mangle)]
extern "C" fn __register_atfork(
    prepare: Handler,
    parent: Handler,
    child: Handler,
    owner: *mut c_void,
) -> c_int {
    PROCESS.start();
    // SAFETY: the address of libc's function of that name, which has this type.
    let next: RegisterAtFork = unsafe { core::mem::transmute(NEXT_REGISTER_ATFORK.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(prepare, parent, child, owner) }
}

#[unsafe(no_mangle)]
extern "C" fn _exit(status: c_int) -> ! {
    PROCESS.note_end_without_scan();
    PROCESS.finish(ProcessState::Counted);
    loop {
        // SAFETY: ends the process; what _exit(2) does.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn _Exit(status: c_int) -> ! {
    _exit(status)
}
