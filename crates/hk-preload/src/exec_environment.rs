//! The environment that a program is started with: ours and the settings' variables are put back if they were
//! taken out, so that the heap is inherited.
//!
//! Everything is on the caller's stack or in statics: exec is called between vfork and its end, where the
//! child runs in the parent's memory and must not leave anything behind.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::{AtomicUsize, Ordering};
use hk_format::{SETTINGS_VARIABLE, Setting, decode_path, parse_settings};

const PRELOAD: &[u8] = b"LD_PRELOAD";
/// Longest variable that is kept.
const TEXT_BYTES: usize = 8192;
/// Entries of an environment that can be changed on the stack; a larger one is passed on as it is.
const ENTRY_COUNT_MAX: usize = 2048;

/// A variable of ours as it was when the program started, `NAME=value`, NUL-terminated.
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

static SETTINGS_TEXT: Kept = Kept::new();
static LIBRARY: Kept = Kept::new();
static PRELOAD_TEXT: Kept = Kept::new();

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The program's environment now.
pub fn current() -> *const *const c_char {
    // SAFETY: libc's variable.
    unsafe { environ }
}

/// Remembers our variables. Without a library path in the settings nothing is put back later.
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

/// The value of `name` in an environment.
fn find<'a>(mut entries: *const *const c_char, name: &[u8]) -> Option<&'a [u8]> {
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

fn next_entry<'a>(entries: &mut *const *const c_char) -> Option<&'a CStr> {
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

/// Calls `start` with `entries`, or with a copy in which the heap's variables are put back.
pub fn with_heap<R>(entries: *const *const c_char, start: impl FnOnce(*const *const c_char) -> R) -> R {
    let library = LIBRARY.bytes();
    if library.is_empty() {
        return start(entries);
    }
    let preload = find(entries, PRELOAD);
    let has_library =
        preload.is_some_and(|value| value.split(|&b| b == b':' || b == b' ').any(|part| part == library));
    if has_library && find(entries, SETTINGS_VARIABLE.as_bytes()).is_some() {
        return start(entries);
    }
    with_copy(entries, preload, has_library, start)
}

#[inline(never)]
fn with_copy<R>(
    mut entries: *const *const c_char,
    preload: Option<&[u8]>,
    has_library: bool,
    start: impl FnOnce(*const *const c_char) -> R,
) -> R {
    let original = entries;
    let mut copy = [null::<c_char>(); ENTRY_COUNT_MAX];
    let mut joined = [0u8; TEXT_BYTES];
    let mut count = 0;
    while let Some(text) = next_entry(&mut entries) {
        let ours = value_of(text.to_bytes(), PRELOAD).is_some()
            || value_of(text.to_bytes(), SETTINGS_VARIABLE.as_bytes()).is_some();
        if ours {
            continue;
        }
        if count + 3 > ENTRY_COUNT_MAX {
            return start(original);
        }
        copy[count] = text.as_ptr();
        count += 1;
    }
    copy[count] = match preload {
        Some(others) if !others.is_empty() && !has_library => join(&mut joined, others),
        Some(others) if has_library => others.as_ptr().wrapping_sub(PRELOAD.len() + 1).cast(),
        _ => PRELOAD_TEXT.pointer(),
    };
    copy[count + 1] = SETTINGS_TEXT.pointer();
    start(copy.as_ptr())
}

/// `LD_PRELOAD=ours:others`; ours alone if that is too long.
fn join(buffer: &mut [u8; TEXT_BYTES], others: &[u8]) -> *const c_char {
    let ours = PRELOAD_TEXT.bytes();
    let len = ours.len() + 1 + others.len();
    if len >= TEXT_BYTES {
        return PRELOAD_TEXT.pointer();
    }
    buffer[..ours.len()].copy_from_slice(ours);
    buffer[ours.len()] = b':';
    buffer[ours.len() + 1..len].copy_from_slice(others);
    buffer[len] = 0;
    buffer.as_ptr().cast()
}

/// Where a program is found along PATH, as execvp(3) looks for it; the name itself if nowhere.
pub fn search_path<'a>(name: &'a [u8], buffer: &'a mut [u8]) -> &'a [u8] {
    if name.contains(&b'/') || name.is_empty() {
        return name;
    }
    let path = find(current(), b"PATH").unwrap_or(b"/bin:/usr/bin");
    for folder in path.split(|&b| b == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let len = folder.len() + 1 + name.len();
        if len >= buffer.len() {
            continue;
        }
        buffer[..folder.len()].copy_from_slice(folder);
        buffer[folder.len()] = b'/';
        buffer[folder.len() + 1..len].copy_from_slice(name);
        buffer[len] = 0;
        // SAFETY: a NUL-terminated path.
        if unsafe { libc::access(buffer.as_ptr().cast(), libc::X_OK) } == 0 {
            return &buffer[..len];
        }
    }
    name
}
