//! The exec family: what is started inherits the heap, and the recording is told.
//!
//! Of a program that cannot be covered (static, setuid, 32-bit, for another libc) nothing more is heard; by the record
//! that is made here the command names it.
//!
//! All of this may run in a vfork child, in the parent's memory, or on a stack of 16 KiB: nothing is
//! allocated, and the paths' buffers are gone before anything is copied for the call itself.

use crate::exec_environment::{
    Entries, current, is_of_another_run, library, remember, search_path, with_environment,
};
use crate::host::PROCESS;
use crate::next::Next;
use crate::system_calls::{text_goes_out, texts_go_out};
use crate::target::{Target, judge};
use core::ffi::{CStr, c_char, c_void};
use hk_format::{ExecState, ProcessState};
use hk_os::Errno;
use hk_recorder::ExecToken;
use libc::{AT_FDCWD, c_int};

const PATH_BYTES: usize = 4096;

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

/// How a call names the program.
#[derive(Clone, Copy)]
enum Program {
    /// By its path, relative to an open folder or AT_FDCWD.
    At(c_int, *const c_char),
    /// By its name, to be looked for along PATH.
    Named(*const c_char),
    /// By an open descriptor.
    Open(c_int),
}

/// What is known before the call.
struct Attempt {
    target: Target,
    token: Option<ExecToken>,
}

/// Looks at the program's file and tells the recording that it is about to be started: also of a file that seems absent
/// if the call `may_succeed` all the same.
#[inline(never)]
fn announce(program: Program, entries: Entries, may_succeed: bool) -> Attempt {
    let _errno = Errno::keep();
    let mut buffer = [0u8; PATH_BYTES];
    let program = match program {
        Program::Named(name) if bytes_of(name).contains(&b'/') => Program::At(AT_FDCWD, name),
        program => program,
    };
    let (folder, path) = match program {
        Program::At(folder, path) => (folder, path),
        Program::Named(name) => (AT_FDCWD, search_path(name, &mut buffer)),
        Program::Open(fd) => (AT_FDCWD, descriptor_path(fd, &mut buffer)),
    };
    let target = library().map_or(Target::Fits, |library| judge(folder, path, library));
    let path = match program {
        Program::At(AT_FDCWD, path) if target != Target::Absent => absolute(bytes_of(path), &mut buffer),
        _ => bytes_of(path),
    };
    // Shells and their like try every folder of PATH: the recording is not filled with what is not there.
    let is_hopeless = target == Target::Absent && !may_succeed;
    let is_ours = !is_hopeless && !is_of_another_run(entries);
    let token = if is_ours { PROCESS.recording().exec_begin(path, process_id()) } else { None };
    Attempt { target, token }
}

/// A path below the working folder, with that in front: the command that reads the recording stands elsewhere. As
/// it is if that is too long.
fn absolute<'a>(path: &'a [u8], buffer: &'a mut [u8; PATH_BYTES]) -> &'a [u8] {
    if path.is_empty() || path.starts_with(b"/") {
        return path;
    }
    let path = path.strip_prefix(b"./").unwrap_or(path);
    // SAFETY: the kernel writes into the buffer at most, and ends the path by NUL. Not libc's getcwd, which may
    // allocate.
    let written = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let Some(folder_len) = usize::try_from(written).ok().and_then(|len| len.checked_sub(1)) else {
        return path;
    };
    let end = folder_len + 1 + path.len();
    if !buffer.starts_with(b"/") || end > buffer.len() {
        return path;
    }
    buffer[folder_len] = b'/';
    buffer[folder_len + 1..end].copy_from_slice(path);
    &buffer[..end]
}

/// Makes an exec that returns only if it fails; tells the recording before and, if so, after.
fn replace(program: Program, entries: Entries, exec: &dyn Fn(Entries) -> c_int) -> c_int {
    // A descriptor is looked at by /proc, which may be missing.
    let attempt = announce(program, entries, matches!(program, Program::Open(_)));
    PROCESS.finish(ProcessState::Replaced);
    let result = with_environment(entries, attempt.target != Target::Unfit, exec);
    let error = Errno::get();
    PROCESS.resume();
    if let Some(token) = attempt.token {
        PROCESS.recording().exec_end(token, ExecState::Failed, 0, error);
    }
    Errno::set(error);
    result
}

/// Looks at all texts that a new program is given.
fn look_at(name: *const c_char, arguments: Entries, entries: Entries) {
    text_goes_out(name);
    texts_go_out(arguments.cast());
    texts_go_out(entries.cast());
}

#[unsafe(no_mangle)]
extern "C" fn execve(path: *const c_char, arguments: Entries, entries: Entries) -> c_int {
    look_at(path, arguments, entries);
    replace(Program::At(AT_FDCWD, path), entries, &|entries| {
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { libc::syscall(libc::SYS_execve, path, arguments, entries) as c_int }
    })
}

#[unsafe(no_mangle)]
extern "C" fn execv(path: *const c_char, arguments: Entries) -> c_int {
    execve(path, arguments, current())
}

#[unsafe(no_mangle)]
extern "C" fn execvpe(name: *const c_char, arguments: Entries, entries: Entries) -> c_int {
    look_at(name, arguments, entries);
    replace(Program::Named(name), entries, &|entries| {
        // SAFETY: the address of libc's execvpe.
        let next: ExecVpe = unsafe { core::mem::transmute(NEXT_EXECVPE.get()) };
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { next(name, arguments, entries) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn execvp(name: *const c_char, arguments: Entries) -> c_int {
    execvpe(name, arguments, current())
}

#[unsafe(no_mangle)]
extern "C" fn fexecve(fd: c_int, arguments: Entries, entries: Entries) -> c_int {
    look_at(core::ptr::null(), arguments, entries);
    replace(Program::Open(fd), entries, &|entries| {
        // SAFETY: the address of libc's fexecve.
        let next: FExecVe = unsafe { core::mem::transmute(NEXT_FEXECVE.get()) };
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { next(fd, arguments, entries) }
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
    look_at(path, arguments, entries);
    let is_open = flags & libc::AT_EMPTY_PATH != 0 && bytes_of(path).is_empty();
    let program = if is_open { Program::Open(fd) } else { Program::At(fd, path) };
    replace(program, entries, &|entries| {
        // SAFETY: the address of libc's execveat.
        let next: ExecVeAt = unsafe { core::mem::transmute(NEXT_EXECVEAT.get()) };
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { next(fd, path, arguments, entries, flags) }
    })
}

/// `/proc/self/fd/N`, as a C string.
fn descriptor_path(fd: c_int, buffer: &mut [u8; PATH_BYTES]) -> *const c_char {
    const FOLDER: &[u8] = b"/proc/self/fd/";
    let mut at = buffer.len() - 1;
    buffer[at] = 0;
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
    buffer[at..].as_ptr().cast()
}

/// posix_spawn(p).
fn spawn(
    next: &Next,
    program: Program,
    child: *mut libc::pid_t,
    call: (*const c_char, *const c_void, *const c_void, Entries),
    entries: Entries,
) -> c_int {
    let (name, actions, attributes, arguments) = call;
    look_at(name, arguments, entries);
    // The child may change its folder first, and find what seems absent from here.
    let attempt = announce(program, entries, true);
    let pid = core::cell::Cell::new(0);
    let error = with_environment(entries, attempt.target != Target::Unfit, &|entries| {
        // SAFETY: the address of libc's posix_spawn or posix_spawnp.
        let next: Spawn = unsafe { core::mem::transmute(next.get()) };
        // SAFETY: the caller's arguments, an environment that lives through the call.
        unsafe { next(pid.as_ptr(), name, actions, attributes, arguments, entries) }
    });
    if let Some(token) = attempt.token {
        let state = if error == 0 { ExecState::Spawned } else { ExecState::Failed };
        PROCESS.recording().exec_end(token, state, pid.get() as u32, error);
    }
    if error == 0 && !child.is_null() {
        // SAFETY: the caller's place for the child's pid.
        unsafe { *child = pid.get() };
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
    spawn(&NEXT_SPAWN, Program::At(AT_FDCWD, path), child, (path, actions, attributes, arguments), entries)
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
    spawn(&NEXT_SPAWNP, Program::Named(name), child, (name, actions, attributes, arguments), entries)
}

/// execl, execlp and execle take their arguments one by one. Stable Rust can't define such functions: the stubs lay the
/// arguments that came in registers before those on the stack, where the return address was, so that all are
/// one list, and pass on the name and where the list is. All arguments are pointers.
macro_rules! variadic {
    ($name:ident => $body:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "pop rax",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_register rip, rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                ".cfi_adjust_cfa_offset 40",
                "mov rsi, rsp",
                "push rax",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_offset rip, -48",
                "call {body}",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                ".cfi_register rip, rcx",
                "add rsp, 40",
                ".cfi_adjust_cfa_offset -40",
                "push rcx",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_offset rip, -8",
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

extern "C" fn execl_listed(path: *const c_char, arguments: Entries) -> c_int {
    execve(path, arguments, current())
}

extern "C" fn execlp_listed(name: *const c_char, arguments: Entries) -> c_int {
    execvpe(name, arguments, current())
}

/// The environment follows the list's NULL.
extern "C" fn execle_listed(path: *const c_char, arguments: Entries) -> c_int {
    let mut place = arguments;
    // SAFETY: the caller passed a list that ends with NULL, and we stop there.
    while !unsafe { *place }.is_null() {
        place = place.wrapping_add(1);
    }
    // SAFETY: execle's caller passes the environment behind the list's NULL.
    let entries = unsafe { *place.wrapping_add(1) };
    execve(path, arguments, entries.cast())
}
