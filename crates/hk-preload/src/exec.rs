//! The exec family: what is started inherits the heap, and the recording is told.
//!
//! Of a program that cannot be covered (static, setuid, 32-bit) nothing more is heard; by the record that is
//! made here the command names it. `system` and `popen` start a shell from inside libc, past these wrappers; the
//! shell inherits the environment as it is.

use crate::exec_environment::{current, remember, search_path, with_heap};
use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::{CStr, c_char, c_void};
use core::ptr::null;
use hk_format::{ExecState, ProcessState};
use hk_os::Errno;
use libc::c_int;

const PATH_BYTES: usize = 4096;
/// Arguments of execl and its kin; more is answered by E2BIG.
const ARGUMENT_COUNT_MAX: usize = 1024;

type Entries = *const *const c_char;
type ExecVpe = unsafe extern "C" fn(*const c_char, Entries, Entries) -> c_int;
type ExecVeAt = unsafe extern "C" fn(c_int, *const c_char, Entries, Entries, c_int) -> c_int;
type FExecVe = unsafe extern "C" fn(c_int, Entries, Entries) -> c_int;
type Spawn = unsafe extern "C" fn(
    *mut libc::pid_t,
    *const c_char,
    *const c_void,
    *const c_void,
    Entries,
    Entries,
) -> c_int;

static NEXT_EXECVPE: Next = Next::new(c"execvpe");
static NEXT_FEXECVE: Next = Next::new(c"fexecve");
static NEXT_EXECVEAT: Next = Next::new(c"execveat");
static NEXT_SPAWN: Next = Next::new(c"posix_spawn");
static NEXT_SPAWNP: Next = Next::new(c"posix_spawnp");

/// Looks everything up that an exec needs, as it may be made where nothing can be looked up any more.
pub fn prepare() {
    remember();
    for next in [&NEXT_EXECVPE, &NEXT_FEXECVE, &NEXT_EXECVEAT, &NEXT_SPAWN, &NEXT_SPAWNP] {
        next.look_up();
    }
}

fn bytes_of<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: exec's names are C strings.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

fn process_id() -> u32 {
    // SAFETY: no arguments; not cached, so right in a vfork child.
    unsafe { libc::getpid() as u32 }
}

/// Makes an exec that returns only if it fails; tells the recording before and, if so, after.
fn recorded(path: &[u8], exec: impl FnOnce() -> c_int) -> c_int {
    let token = PROCESS.recording().exec_begin(path, process_id());
    PROCESS.finish(ProcessState::Replaced);
    let result = exec();
    let error = Errno::get();
    PROCESS.resume();
    if let Some(token) = token {
        PROCESS.recording().exec_end(token, ExecState::Failed, 0, error);
    }
    Errno::set(error);
    result
}

#[unsafe(no_mangle)]
extern "C" fn execve(path: *const c_char, arguments: Entries, entries: Entries) -> c_int {
    with_heap(entries, |entries| {
        recorded(bytes_of(path), || {
            // SAFETY: the caller's arguments, an environment that lives through the call.
            unsafe { libc::syscall(libc::SYS_execve, path, arguments, entries) as c_int }
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn execv(path: *const c_char, arguments: Entries) -> c_int {
    execve(path, arguments, current())
}

#[unsafe(no_mangle)]
extern "C" fn execvpe(name: *const c_char, arguments: Entries, entries: Entries) -> c_int {
    let mut buffer = [0u8; PATH_BYTES];
    let path = search_path(bytes_of(name), &mut buffer);
    with_heap(entries, |entries| {
        recorded(path, || {
            // SAFETY: the address of libc's execvpe.
            let next: ExecVpe = unsafe { core::mem::transmute(NEXT_EXECVPE.get()) };
            // SAFETY: the caller's arguments, an environment that lives through the call.
            unsafe { next(name, arguments, entries) }
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn execvp(name: *const c_char, arguments: Entries) -> c_int {
    execvpe(name, arguments, current())
}

#[unsafe(no_mangle)]
extern "C" fn fexecve(fd: c_int, arguments: Entries, entries: Entries) -> c_int {
    with_heap(entries, |entries| {
        let mut buffer = [0u8; 32];
        recorded(descriptor_path(fd, &mut buffer), || {
            // SAFETY: the address of libc's fexecve.
            let next: FExecVe = unsafe { core::mem::transmute(NEXT_FEXECVE.get()) };
            // SAFETY: the caller's arguments, an environment that lives through the call.
            unsafe { next(fd, arguments, entries) }
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn execveat(
    fd: c_int,
    path: *const c_char,
    arguments: Entries,
    entries: Entries,
    flags: c_int,
) -> c_int {
    with_heap(entries, |entries| {
        recorded(bytes_of(path), || {
            // SAFETY: the address of libc's execveat.
            let next: ExecVeAt = unsafe { core::mem::transmute(NEXT_EXECVEAT.get()) };
            // SAFETY: the caller's arguments, an environment that lives through the call.
            unsafe { next(fd, path, arguments, entries, flags) }
        })
    })
}

/// `/proc/self/fd/N`.
fn descriptor_path(fd: c_int, buffer: &mut [u8; 32]) -> &[u8] {
    const FOLDER: &[u8] = b"/proc/self/fd/";
    let mut at = buffer.len();
    let mut rest = fd.max(0) as usize;
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= FOLDER.len();
    buffer[at..at + FOLDER.len()].copy_from_slice(FOLDER);
    &buffer[at..]
}

fn spawn(
    next: &Next,
    path: &[u8],
    child: *mut libc::pid_t,
    call: (*const c_char, *const c_void, *const c_void, Entries),
    entries: Entries,
) -> c_int {
    let (name, actions, attributes, arguments) = call;
    let token = PROCESS.recording().exec_begin(path, process_id());
    let mut pid = 0;
    let error = with_heap(entries, |entries| {
        // SAFETY: the address of libc's posix_spawn or posix_spawnp.
        let next: Spawn = unsafe { core::mem::transmute(next.get()) };
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { next(&raw mut pid, name, actions, attributes, arguments, entries) }
    });
    if let Some(token) = token {
        let state = if error == 0 { ExecState::Spawned } else { ExecState::Failed };
        PROCESS.recording().exec_end(token, state, pid as u32, error);
    }
    if error == 0 && !child.is_null() {
        // SAFETY: the caller's place for the child's pid.
        unsafe { *child = pid };
    }
    error
}

#[unsafe(no_mangle)]
extern "C" fn posix_spawn(
    child: *mut libc::pid_t,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Entries,
    entries: Entries,
) -> c_int {
    spawn(&NEXT_SPAWN, bytes_of(path), child, (path, actions, attributes, arguments), entries)
}

#[unsafe(no_mangle)]
extern "C" fn posix_spawnp(
    child: *mut libc::pid_t,
    name: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Entries,
    entries: Entries,
) -> c_int {
    let mut buffer = [0u8; PATH_BYTES];
    let path = search_path(bytes_of(name), &mut buffer);
    spawn(&NEXT_SPAWNP, path, child, (name, actions, attributes, arguments), entries)
}

/// execl, execlp and execle take their arguments one by one. Stable Rust can't define such functions: the stubs
/// store the six register arguments and pass on where those and the rest lie. All arguments are pointers.
macro_rules! variadic {
    ($name:ident => $body:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "sub rsp, 56",
                ".cfi_adjust_cfa_offset 56",
                "mov [rsp], rdi",
                "mov [rsp + 8], rsi",
                "mov [rsp + 16], rdx",
                "mov [rsp + 24], rcx",
                "mov [rsp + 32], r8",
                "mov [rsp + 40], r9",
                "mov rdi, rsp",
                "lea rsi, [rsp + 64]",
                "call {body}",
                "add rsp, 56",
                ".cfi_adjust_cfa_offset -56",
                "ret",
                ".cfi_endproc",
                body = sym $body,
            )
        }
    };
}
variadic!(execl => execl_listed);
variadic!(execlp => execlp_listed);
variadic!(execle => execle_listed);

/// The arguments of a variadic exec: the name, the arguments up to NULL, and what follows.
struct Listed {
    name: *const c_char,
    arguments: [*const c_char; ARGUMENT_COUNT_MAX + 1],
    behind: *const c_char,
}

impl Listed {
    fn read(registers: Entries, stack: Entries) -> Option<Listed> {
        let argument = |index: usize| {
            let place = if index < 6 { registers.wrapping_add(index) } else { stack.wrapping_add(index - 6) };
            // SAFETY: the caller passed a NULL-terminated list, and we stop at its end (or one behind for execle).
            unsafe { *place }
        };
        let mut listed =
            Listed { name: argument(0), arguments: [null(); ARGUMENT_COUNT_MAX + 1], behind: null() };
        for index in 0..ARGUMENT_COUNT_MAX {
            let text = argument(index + 1);
            listed.arguments[index] = text;
            if text.is_null() {
                return Some(listed);
            }
        }
        Errno::set(libc::E2BIG);
        None
    }

    fn environment(&mut self, registers: Entries, stack: Entries) -> Entries {
        let count = self.arguments.iter().take_while(|text| !text.is_null()).count();
        let index = count + 2;
        let place = if index < 6 { registers.wrapping_add(index) } else { stack.wrapping_add(index - 6) };
        // SAFETY: execle's caller passes the environment behind the list's NULL.
        self.behind = unsafe { *place };
        self.behind.cast()
    }
}

extern "C" fn execl_listed(registers: Entries, stack: Entries) -> c_int {
    match Listed::read(registers, stack) {
        Some(listed) => execve(listed.name, listed.arguments.as_ptr(), current()),
        None => -1,
    }
}

extern "C" fn execlp_listed(registers: Entries, stack: Entries) -> c_int {
    match Listed::read(registers, stack) {
        Some(listed) => execvpe(listed.name, listed.arguments.as_ptr(), current()),
        None => -1,
    }
}

extern "C" fn execle_listed(registers: Entries, stack: Entries) -> c_int {
    match Listed::read(registers, stack) {
        Some(mut listed) => {
            let entries = listed.environment(registers, stack);
            execve(listed.name, listed.arguments.as_ptr(), entries)
        }
        None => -1,
    }
}
