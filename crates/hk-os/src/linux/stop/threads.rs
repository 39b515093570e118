//! Which threads there are, as the kernel lists them.

use super::super::{bare::system_call, read_file};
use super::SIGNAL;
use core::ffi::CStr;

/// Bytes of the list that are read at once.
const CHUNK_BYTES: usize = 2048;
/// Where a `struct linux_dirent64` has its length, and its name (getdents64(2)).
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;
/// What is read of a thread's status: signals stand in its first KiB, unless the user is of very many groups.
const STATUS_BYTES: usize = 2048;

/// The calling thread's id.
pub(super) fn own_id() -> u32 {
    // SAFETY: no arguments.
    unsafe { system_call(libc::SYS_gettid, [0; 6]) as u32 }
}

/// Calls `found` with each thread's id. False if they can't be listed.
pub(super) fn for_each(mut found: impl FnMut(u32)) -> bool {
    let Some(folder) = open(c"/proc/self/task", libc::O_DIRECTORY) else { return false };
    let mut chunk = [0u64; CHUNK_BYTES / 8];
    let listed = loop {
        let arguments = [folder, chunk.as_mut_ptr().addr(), CHUNK_BYTES, 0, 0, 0];
        // SAFETY: the kernel writes so many bytes at most.
        let len = unsafe { system_call(libc::SYS_getdents64, arguments) };
        if len <= 0 {
            break len == 0;
        }
        // SAFETY: bytes of an array of integers.
        let bytes = unsafe { core::slice::from_raw_parts(chunk.as_ptr().cast::<u8>(), len as usize) };
        each_number(bytes, &mut found);
    };
    close(folder);
    listed
}

fn each_number(mut entries: &[u8], found: &mut impl FnMut(u32)) {
    while let Some(length) = entries.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let name = entries.get(NAME_AT..length).unwrap_or_default();
        if let Some(number) = number(name) {
            found(number);
        }
        entries = entries.get(length.max(NAME_AT)..).unwrap_or_default();
    }
}

/// The digits before a NUL; None if there is anything else.
fn number(text: &[u8]) -> Option<u32> {
    let end = text.iter().position(|&byte| byte == 0)?;
    text[..end].iter().try_fold(0u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a thread is there and can come to a handler: not one that has ended and was not waited for, as a first thread that left before the
/// others (state Z, proc(5)).
pub(super) fn is_there(thread: u32) -> bool {
    let path = ThreadFile::of(None, thread, b"stat");
    let Ok(path) = CStr::from_bytes_until_nul(&path.0) else { return false };
    let mut text = [0u8; 256];
    let text = read_file(path, &mut text);
    // The name stands in parentheses, and may have some of its own.
    let state = text.iter().rposition(|&byte| byte == b')').and_then(|end| text.get(end + 2));
    state.is_some_and(|state| !b"ZXx".contains(state))
}

/// Whether a thread is going to see the signal of a stop.
pub(super) enum Hearing {
    /// It does not block it, or nothing is known.
    Good,
    /// It blocks it, but is at work, and may be about to end that: who makes a process blocks all signals meanwhile, and waits in state D until
    /// the child has another program (vfork(2), posix_spawn(3)), or copies page tables (fork(2)).
    Busy,
    /// It blocks it, and sleeps.
    Deaf,
}

/// What a thread's status says of that (proc(5)).
pub(super) fn hearing_of(thread: u32) -> Hearing {
    let path = ThreadFile::of(None, thread, b"status");
    let Ok(path) = CStr::from_bytes_until_nul(&path.0) else { return Hearing::Good };
    let mut text = [0u8; STATUS_BYTES];
    let text = read_file(path, &mut text);
    let field = |name: &[u8]| text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name));
    // A set in hexadecimal digits, the last of which has signals 1 to 4.
    let blocked = field(b"SigBlk:\t").and_then(|digits| {
        let digits = core::str::from_utf8(digits).ok()?;
        u64::from_str_radix(digits, 16).ok()
    });
    match field(b"State:\t") {
        _ if blocked.is_none_or(|set| set & 1 << (SIGNAL - 1) == 0) => Hearing::Good,
        Some([b'S', ..]) => Hearing::Deaf,
        _ => Hearing::Busy,
    }
}

/// The name of a thread of another process, padded with zeros; zeros if it can't be told.
pub fn name_of(process: u32, thread: u32) -> [u8; 16] {
    let path = ThreadFile::of(Some(process), thread, b"comm");
    let mut name = [0; 16];
    if let Ok(path) = CStr::from_bytes_until_nul(&path.0) {
        let len = read_file(path, &mut name).len();
        // A newline ends it.
        name[len.saturating_sub(1)..].fill(0);
    }
    name
}

/// The path of a thread's pagemap, with a NUL at its end.
pub fn pagemap_of(process: u32, thread: u32) -> [u8; PATH_BYTES] {
    ThreadFile::of(Some(process), thread, b"pagemap").0
}

/// Room for a path below /proc.
pub const PATH_BYTES: usize = 48;

/// The path of one of a thread's files, padded with zeros.
struct ThreadFile([u8; PATH_BYTES]);

impl ThreadFile {
    /// Of this process, if none is given.
    fn of(process: Option<u32>, thread: u32, name: &[u8]) -> Self {
        let mut path = ([0; PATH_BYTES], 0);
        push(&mut path, b"/proc/");
        match process {
            Some(process) => push_number(&mut path, process),
            None => push(&mut path, b"self"),
        }
        push(&mut path, b"/task/");
        push_number(&mut path, thread);
        push(&mut path, b"/");
        push(&mut path, name);
        ThreadFile(path.0)
    }
}

fn push((path, len): &mut ([u8; PATH_BYTES], usize), text: &[u8]) {
    path[*len..*len + text.len()].copy_from_slice(text);
    *len += text.len();
}

fn push_number(path: &mut ([u8; PATH_BYTES], usize), number: u32) {
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    let mut rest = number;
    while rest > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    push(path, &digits[first..]);
}

fn open(path: &CStr, flags: i32) -> Option<usize> {
    let flags = (flags | libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    // SAFETY: a path that ends with NUL.
    let file = unsafe {
        system_call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr().addr(), flags, 0, 0, 0])
    };
    usize::try_from(file).ok()
}

fn close(file: usize) {
    // SAFETY: our own descriptor, closed once.
    unsafe { system_call(libc::SYS_close, [file, 0, 0, 0, 0, 0]) };
}
