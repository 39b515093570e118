//! Sandboxes that the program puts itself into.
//!
//! A filter of system calls (seccomp(2)) may end the process for what a plain malloc never does. Who sets one through libc, by prctl or
//! by syscall as libseccomp does, is seen, and the filter is asked what it forbids ([`hk_os::note_filter`]): that is left out from just before the
//! kernel gets it, and what would be read is missing from the report (resident bytes at exit, which mapping a bad address lies in, leaks).
//! Who sets one by inline assembly goes unseen; and a free of an address that is not of the heap still reads which
//! mapping that is, to find its owner, and an exec what it is to start.

use crate::arguments;
use crate::host::PROCESS;
use crate::next::{IS_FOREIGN, Next, unless_foreign};
use crate::system_calls::{gets_filled, text_goes_out};
use core::arch::naked_asm;
use hk_os::make_call;
use libc::{c_int, c_long, c_ulong};

type Prctl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
static NEXT_PRCTL: Next = Next::new(c"prctl");
static NEXT_SYSCALL: Next = Next::new(c"syscall");

unless_foreign! {
    prctl => our_prctl, NEXT_PRCTL;
}

/// At the start.
pub fn begin() {
    NEXT_PRCTL.look_up();
    NEXT_SYSCALL.look_up();
}

extern "C" fn our_prctl(
    option: c_int,
    second: c_ulong,
    third: c_ulong,
    fourth: c_ulong,
    fifth: c_ulong,
) -> c_int {
    let name = core::ptr::with_exposed_provenance(second as usize);
    match option {
        libc::PR_SET_NAME => text_goes_out(name),
        libc::PR_GET_NAME => gets_filled(name.cast(), 16),
        libc::PR_SET_SECCOMP => {
            let how =
                if second == c_ulong::from(libc::SECCOMP_MODE_STRICT) { How::Strict } else { How::Filter };
            let call = [libc::SYS_prctl as c_ulong, option as c_ulong, second, third, fourth, fifth];
            return enter(how, third, call) as c_int;
        }
        _ => {}
    }
    // SAFETY: the address of libc's function of that name, which takes as many.
    let next: Prctl = unsafe { core::mem::transmute(NEXT_PRCTL.get()) };
    // SAFETY: the caller's arguments.
    unsafe { next(option, second, third, fourth, fifth) }
}

/// syscall(2): of all calls the arguments are looked at, and one enters a sandbox.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn syscall() {
    naked_asm!(
        ".cfi_startproc",
        "cmp byte ptr [rip + {next} + {is_foreign}], 0",
        "jne 2f",
        "cmp rdi, {seccomp}",
        "je {ours}",
        "mov r11d, {bare}",
        "jmp {common}",
        "2:",
        "jmp qword ptr [rip + {next}]",
        ".cfi_endproc",
        next = sym NEXT_SYSCALL,
        is_foreign = const IS_FOREIGN,
        seccomp = const libc::SYS_seccomp,
        ours = sym our_seccomp,
        bare = const arguments::SYSCALL,
        common = sym arguments::common,
    )
}

extern "C" fn our_seccomp(number: c_long, operation: c_ulong, flags: c_ulong, filter: c_ulong) -> c_long {
    let call = [number as c_ulong, operation, flags, filter, 0, 0];
    match operation as u32 {
        libc::SECCOMP_SET_MODE_STRICT => enter(How::Strict, 0, call),
        libc::SECCOMP_SET_MODE_FILTER => enter(How::Filter, filter, call),
        // SAFETY: the caller's call and arguments.
        _ => unsafe {
            make_call(number as usize, operation as usize, flags as usize, filter as usize, 0, 0, 0)
        },
    }
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER (linux/seccomp.h).
const NEW_LISTENER: c_ulong = 1 << 3;

/// What a process may do in its sandbox.
enum How {
    /// Read, write and exit.
    Strict,
    /// What its filter says.
    Filter,
}

/// Enters a sandbox by `call`, whose filter lies at `filter`.
fn enter(how: How, filter: c_ulong, call: [c_ulong; 6]) -> c_long {
    // Before it, as it may be forbidden to find out afterwards.
    let is_own = is_own();
    if is_own {
        hk_os::note_process_id();
    }
    // The other threads may be in it at once (SECCOMP_FILTER_FLAG_TSYNC).
    let noted = match how {
        _ if !is_own => None,
        How::Strict => Some(hk_os::note_strict()),
        How::Filter => note_filter(filter),
    };
    let [number, first, second, third, fourth, fifth] = call.map(|word| word as usize);
    // SAFETY: the caller's call and arguments.
    let result = unsafe { make_call(number, first, second, third, fourth, fifth, 0) };
    // A thread's number says that that one did not take it; a descriptor is of a filter that was taken.
    let has_listener = call[0] == libc::SYS_seccomp as c_ulong && call[2] & NEW_LISTENER != 0;
    let is_taken = result == 0 || result > 0 && has_listener;
    match noted {
        Some(noted) if !is_taken => noted.take_back(),
        // It could not be told beforehand whether the filter can be read; the kernel has read it now.
        None if is_taken && is_own => _ = ask_filter(filter),
        _ => {}
    }
    result
}

/// Asks a filter that the kernel is about to be given, if it can be read.
fn note_filter(place: c_ulong) -> Option<hk_os::Noted> {
    let bytes = size_of::<libc::sock_fprog>();
    if !is_readable(place as usize, bytes) {
        return None;
    }
    let program: *const libc::sock_fprog = core::ptr::with_exposed_provenance(place as usize);
    // SAFETY: found readable.
    let program = unsafe { program.read_unaligned() };
    let bytes = usize::from(program.len) * size_of::<hk_os::Instruction>();
    is_readable(program.filter.addr(), bytes).then(|| ask_filter(place))
}

/// Whether a piece of memory can be read, all of it.
fn is_readable(start: usize, bytes: usize) -> bool {
    const STEP: usize = 4096;
    const WORD: usize = size_of::<u64>();
    bytes >= WORD
        && start.checked_add(bytes).is_some_and(|end| {
            (start..end - WORD).step_by(STEP).chain([end - WORD]).all(hk_recorder::is_readable)
        })
}

/// Asks a filter, which can be read.
fn ask_filter(place: c_ulong) -> hk_os::Noted {
    let program: *const libc::sock_fprog = core::ptr::with_exposed_provenance(place as usize);
    // SAFETY: found readable, with the instructions that it names.
    let libc::sock_fprog { filter: instructions, len: count } = unsafe { program.read_unaligned() };
    // SAFETY: as above; of the same layout.
    let instructions = unsafe { core::slice::from_raw_parts(instructions.cast(), usize::from(count)) };
    hk_os::note_filter(instructions)
}

/// What a vfork child does to itself is not its parent's.
fn is_own() -> bool {
    let heap = PROCESS.heap();
    heap.notice_fork();
    heap.is_own()
}
