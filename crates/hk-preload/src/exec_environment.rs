//! The environment that a program is started with.
//!
//! Our two variables, LD_PRELOAD and the settings', are put back if they were taken out, so that the heap is
//! inherited; and they are taken out for a program that the library would disturb ([`crate::target`]). An
//! environment that is right already is passed on as it is.
//!
//! Everything is on the caller's stack or in statics: exec is called between vfork and its end, where the
//! child runs in the parent's memory and must not leave anything behind. As threads may have as little as 16 KiB of
//! stack, copies are of the size that the environment asks for.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::{AtomicUsize, Ordering};
use hk_format::{SETTINGS_VARIABLE, Setting, decode_path, parse_settings};
use libc::c_int;

const PRELOAD: &[u8] = b"LD_PRELOAD";
/// Longest variable that is kept.
const TEXT_BYTES: usize = 8192;
/// Entries of an environment that can be changed on the stack; a larger one is passed on as it is.
const ENTRY_COUNT_MAX: usize = 2048;

/// NULL-terminated, of C strings.
pub type Entries = *const *const c_char;

/// A text as it was when the program started, NUL-terminated.
struct Kept {
    text: UnsafeCell<[u8; TEXT_BYTES]>,
    len: AtomicUsize,
}

// SAFETY: written once by the constructor, before `len` is set; read afterwards.
unsafe impl Sync for Kept {}

impl Kept {
    const fn new() -> Self {
        Kept { text: UnsafeCell::new([0; TEXT_BYTES]), len: AtomicUsize::new(0) }
    }

    fn set(&self, parts: &[&[u8]]) {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total >= TEXT_BYTES {
            return;
        }
        // SAFETY: only the constructor writes, before anybody reads.
        let text = unsafe { &mut *self.text.get() };
        let mut at = 0;
        for part in parts {
            text[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        text[at] = 0;
        self.len.store(at, Ordering::Release);
    }

    fn bytes(&self) -> &[u8] {
        let len = self.len.load(Ordering::Acquire);
        // SAFETY: written before `len` was set.
        let text = unsafe { &*self.text.get() };
        &text[..len]
    }

    fn pointer(&self) -> *const c_char {
        self.bytes().as_ptr().cast()
    }
}

/// `HEAPKEEPER=…`.
static SETTINGS_TEXT: Kept = Kept::new();
/// The library's path.
static LIBRARY: Kept = Kept::new();
/// `LD_PRELOAD=` and the library's path.
static PRELOAD_TEXT: Kept = Kept::new();

unsafe extern "C" {
    static mut environ: Entries;
}

/// The program's environment now.
pub fn current() -> Entries {
    // SAFETY: libc's variable.
    unsafe { environ }
}

/// Gives the program another environment, as programs do themselves (environ(7)).
pub fn set_current(entries: Entries) {
    // SAFETY: libc's variable.
    unsafe { environ = entries };
}

/// Remembers our variables. Without a library path in the settings nothing is put back or taken out later.
pub fn remember() {
    let Some(settings) = find(current(), SETTINGS_VARIABLE.as_bytes()) else { return };
    let mut path = [0u8; 4096];
    for setting in parse_settings(settings).flatten() {
        if let Setting::Library(encoded) = setting
            && let Some(len) = decode_path(encoded, &mut path)
        {
            LIBRARY.set(&[&path[..len]]);
            PRELOAD_TEXT.set(&[PRELOAD, b"=", &path[..len]]);
            SETTINGS_TEXT.set(&[SETTINGS_VARIABLE.as_bytes(), b"=", settings]);
        }
    }
}

/// Whether an environment names another recording than ours: what is started with it is of another run, which hears of it.
pub fn is_of_another_run(entries: Entries) -> bool {
    let variable = SETTINGS_VARIABLE.as_bytes();
    let own = value_of(SETTINGS_TEXT.bytes(), variable).and_then(recorder_of);
    find(entries, variable).and_then(recorder_of).is_some_and(|recorder| own != Some(recorder))
}

fn recorder_of(settings: &[u8]) -> Option<&[u8]> {
    let recorder = |setting| if let Setting::Recorder(path) = setting { Some(path) } else { None };
    parse_settings(settings).flatten().filter_map(recorder).last()
}

/// The library's path, if it is known.
pub fn library() -> Option<&'static CStr> {
    let known = !LIBRARY.bytes().is_empty();
    // SAFETY: NUL-terminated by `Kept::set`, and never changed again.
    known.then(|| unsafe { CStr::from_ptr(LIBRARY.pointer()) })
}

/// The value of `name` in an environment.
fn find<'a>(mut entries: Entries, name: &[u8]) -> Option<&'a [u8]> {
    while let Some(text) = next_entry(&mut entries) {
        if let Some(value) = value_of(text.to_bytes(), name) {
            return Some(value);
        }
    }
    None
}

fn value_of<'a>(entry: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    entry.strip_prefix(name)?.strip_prefix(b"=")
}

fn next_entry<'a>(entries: &mut Entries) -> Option<&'a CStr> {
    if entries.is_null() {
        return None;
    }
    // SAFETY: an environment is a NULL-terminated array.
    let text = unsafe { **entries };
    if text.is_null() {
        return None;
    }
    // SAFETY: not at the terminator.
    *entries = unsafe { entries.add(1) };
    // SAFETY: entries are C strings.
    Some(unsafe { CStr::from_ptr(text) })
}

fn count(mut entries: Entries) -> usize {
    core::iter::from_fn(|| next_entry(&mut entries)).count()
}

/// The paths in a value of LD_PRELOAD (ld.so(8)).
fn paths(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| b": ".contains(b)).filter(|path| !path.is_empty())
}

/// Calls `start` with the environment that the program gets: with our variables if the library `fits` under it, and
/// without them if not.
pub fn with_environment(entries: Entries, fits: bool, start: &dyn Fn(Entries) -> c_int) -> c_int {
    let Some(library) = library() else { return start(entries) };
    let preload = find(entries, PRELOAD);
    let has_library = preload.is_some_and(|value| paths(value).any(|path| path == library.to_bytes()));
    let has_settings = find(entries, SETTINGS_VARIABLE.as_bytes()).is_some();
    let is_right = if fits { has_library && has_settings } else { !has_library && !has_settings };
    if is_right {
        return start(entries);
    }
    let text_bytes = PRELOAD_TEXT.bytes().len() + preload.map_or(0, <[u8]>::len) + 2;
    // Two variables more at most, and the terminator.
    match (count(entries) + 3, text_bytes) {
        (0..=64, 0..=512) => with_copy::<64, 512>(entries, fits, start),
        (0..=384, 0..=1024) => with_copy::<384, 1024>(entries, fits, start),
        (0..=1024, 0..=1024) => with_copy::<1024, 1024>(entries, fits, start),
        (0..=ENTRY_COUNT_MAX, 0..=TEXT_BYTES) => {
            with_copy::<ENTRY_COUNT_MAX, TEXT_BYTES>(entries, fits, start)
        }
        _ => start(entries),
    }
}

/// Calls `start` with a copy of at most `COUNT` entries, the new LD_PRELOAD in `BYTES` bytes.
#[inline(never)]
fn with_copy<const COUNT: usize, const BYTES: usize>(
    mut entries: Entries,
    fits: bool,
    start: &dyn Fn(Entries) -> c_int,
) -> c_int {
    let mut copy = [null::<c_char>(); COUNT];
    let mut text = Text { bytes: [0u8; BYTES], len: 0 };
    if fits {
        text.add(PRELOAD_TEXT.bytes());
    } else {
        text.add(PRELOAD);
    }
    let mut others = if fits { b':' } else { b'=' };
    if let Some(value) = find(entries, PRELOAD) {
        for path in paths(value).filter(|&path| path != LIBRARY.bytes()) {
            text.add(&[others]);
            text.add(path);
            others = b':';
        }
    }
    let mut count = 0;
    while let Some(entry) = next_entry(&mut entries) {
        let bytes = entry.to_bytes();
        let ours = [PRELOAD, SETTINGS_VARIABLE.as_bytes()].iter().any(|name| value_of(bytes, name).is_some());
        if !ours {
            copy[count] = entry.as_ptr();
            count += 1;
        }
    }
    // A program that gets no library of ours gets the variable only if it names others. Ours alone is in a static: the environment of
    // a shell may be kept by who changes it meanwhile.
    if text.bytes[..text.len] == *PRELOAD_TEXT.bytes() {
        copy[count] = PRELOAD_TEXT.pointer();
        count += 1;
    } else if fits || others == b':' {
        copy[count] = text.bytes.as_ptr().cast();
        count += 1;
    }
    if fits {
        copy[count] = SETTINGS_TEXT.pointer();
    }
    start(copy.as_ptr())
}

/// A C string that grows; the caller has measured that all fits.
struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    len: usize,
}

impl<const BYTES: usize> Text<BYTES> {
    fn add(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }
}

/// Where a program whose name has no `/` is found along PATH, as execvp(3) looks for it; the name itself if nowhere.
/// `name` and the result are C strings.
pub fn search_path(name: *const c_char, buffer: &mut [u8]) -> *const c_char {
    if name.is_null() {
        return name;
    }
    // SAFETY: exec's names are C strings.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    if bytes.is_empty() {
        return name;
    }
    let path = find(current(), b"PATH").unwrap_or(b"/bin:/usr/bin");
    for folder in path.split(|&b| b == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let len = folder.len() + 1 + bytes.len();
        if len >= buffer.len() {
            continue;
        }
        buffer[..folder.len()].copy_from_slice(folder);
        buffer[folder.len()] = b'/';
        buffer[folder.len() + 1..len].copy_from_slice(bytes);
        buffer[len] = 0;
        let found: *const c_char = buffer.as_ptr().cast();
        if crate::target::is_file(libc::AT_FDCWD, found) && is_executable(found) {
            return found;
        }
    }
    name
}

/// Whether exec would be allowed, for the real user: where that is not the effective one, the difference is in which
/// name the recording gets.
fn is_executable(path: *const c_char) -> bool {
    // SAFETY: a C string.
    unsafe { libc::syscall(libc::SYS_access, path, libc::X_OK) == 0 }
}
