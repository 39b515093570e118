//! The program's start and end.

use crate::host::PROCESS;
use crate::{exec, foreign, signals};
use hk_format::ProcessState;
use libc::c_int;

/// Run by the loader before main, after libc and most libraries have started.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        let _errno = hk_os::Errno::keep();
        signals::begin();
        PROCESS.start();
        PROCESS.configure();
        foreign::find_next();
        exec::prepare();
    }
    constructor
};

/// Run by the loader at exit, after the program's own handlers.
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = {
    extern "C" fn destructor() {
        PROCESS.finish(ProcessState::Counted);
    }
    destructor
};

#[unsafe(no_mangle)]
extern "C" fn _exit(status: c_int) -> ! {
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
