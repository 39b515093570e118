//! The one line that a finding, or a setting that is none, prints where no recording is: under a bare LD_PRELOAD.

use crate::finding::{BadCall, Recorded};
use crate::sys;
use crate::unwind::module_name_and_offset;
use core::fmt::{self, Write};
use hk_format::{Call, Place, SettingError};

/// Bytes of the line; what is longer is cut, but ends with a line feed.
const LINE_BYTES: usize = 512;

/// Prints one line on standard error, by one write: what was bad, where, and how to learn more. `refused`: there is a recording, but
/// it could not be opened.
pub fn print_line(bad: &BadCall, recorded: &Recorded, refused: bool) {
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    // A line that is cut is still worth printing.
    let _ = compose(&mut line, bad, recorded, refused);
    line.bytes[line.len] = b'\n';
    sys::write_stderr(&line.bytes[..=line.len]);
}

/// The same of a leak: where the oldest of its blocks was allocated is all that a line has room for.
pub fn print_leak(bad: &BadCall) {
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    // As above.
    let _ = compose_leak(&mut line, bad);
    line.bytes[line.len] = b'\n';
    sys::write_stderr(&line.bytes[..=line.len]);
}

fn compose_leak(line: &mut Line, bad: &BadCall) -> fmt::Result {
    let Some(leak) = &bad.leak else { return Ok(()) };
    let (kind, blocks) = (bad.kind, leak.blocks);
    write!(line, "heapkeeper: {} (CWE-{}): ", kind.title(), kind.cwe())?;
    write!(line, "{} bytes in {blocks} block{} that nothing points at", leak.bytes, plural(blocks))?;
    if leak.indirect_blocks > 0 {
        let others = leak.indirect_blocks;
        write!(
            line,
            ", and {} bytes in {others} block{} that only those lead to",
            leak.indirect_bytes,
            plural(others)
        )?;
    }
    if let Some(caller) = bad.life.and_then(|life| life.stacks.first_frame(life.allocated.stack)) {
        line.write_str(", allocated from ")?;
        compose_code(line, caller - 1)?;
    }
    line.write_str("; run it under 'heapkeeper check --' for the stacks")
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The same for a part of the settings that is not one.
pub fn print_bad_setting(error: &SettingError<'_>) {
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    // As above.
    let _ = write!(line, "heapkeeper: {error}");
    line.bytes[line.len] = b'\n';
    sys::write_stderr(&line.bytes[..=line.len]);
}

fn compose(line: &mut Line, bad: &BadCall, recorded: &Recorded, refused: bool) -> fmt::Result {
    let kind = bad.kind;
    write!(line, "heapkeeper: {} (CWE-{}) of {:#x}", kind.title(), kind.cwe(), bad.address)?;
    compose_place(line, bad)?;
    write!(line, " {}", by(bad.call))?;
    // In a Rust program the first callers are the allocator's own and the standard library's: with which of them the program's own
    // code begins is for symbols to tell.
    let count =
        if bad.call == Call::Dealloc || bad.call == Call::Realloc { recorded.callers.len() } else { 1 };
    for (nth, &caller) in recorded.callers.iter().take(count).take_while(|&&caller| caller != 0).enumerate() {
        line.write_str(if nth == 0 { " from " } else { " < " })?;
        // The call itself ends right before the address that it returns to.
        compose_code(line, caller - 1)?;
    }
    let name = sys::thread_name();
    let name = name.split(|&b| b == 0).next().unwrap_or_default();
    write!(line, ", thread {} ({})", name.escape_ascii(), sys::tid())?;
    line.write_str(if bad.aborted { "; aborted" } else { "; ignored" })?;
    line.write_str(if refused {
        "; no stack, as the recording could not be opened here"
    } else {
        "; run it under 'heapkeeper run --' for the stack"
    })
}

fn compose_place(line: &mut Line, bad: &BadCall) -> fmt::Result {
    match bad.place {
        Place::FreeBlock | Place::RetiredBlock if bad.block_bytes == 0 => Ok(()),
        Place::FreeBlock | Place::RetiredBlock => write!(line, " (block of {} bytes)", bad.block_bytes),
        Place::InsideLiveBlock | Place::InsideFreeBlock => {
            let offset = bad.address.wrapping_sub(bad.block_start);
            let state = if bad.place == Place::InsideLiveBlock { "block" } else { "free block" };
            write!(line, " ({offset} bytes into a {state} of {} bytes)", bad.block_bytes)
        }
        place => {
            write!(line, " ({}", describe(place))?;
            if !bad.place_name.is_empty() && !bad.place_name.starts_with(b"[") {
                write!(line, " of {}", bad.place_name.escape_ascii())?;
            }
            line.write_str(")")
        }
    }
}

fn compose_code(line: &mut Line, pc: u64) -> fmt::Result {
    let mut buffer = [0u8; 256];
    match module_name_and_offset(pc, &mut buffer) {
        Some((name, offset)) => write!(line, "{}+{offset:#x}", name.escape_ascii()),
        None => write!(line, "{pc:#x}"),
    }
}

fn by(call: Call) -> &'static str {
    match call {
        Call::Free => "by free",
        Call::Realloc => "by realloc",
        Call::UsableSize => "by malloc_usable_size",
        Call::SeenLater => "by two threads at once, seen",
        Call::Dealloc => "by dealloc",
        Call::Access => "by an instruction",
        Call::SystemCall => "by a system call",
        Call::Delete => "by delete",
        Call::DeleteArray => "by delete[]",
        Call::Exit => "found at exit",
        Call::Scan => "found by a scan",
    }
}

fn describe(place: Place) -> &'static str {
    match place {
        Place::FreeBlock | Place::RetiredBlock => "a free block",
        Place::InsideLiveBlock => "inside a block",
        Place::InsideFreeBlock => "inside a free block",
        Place::NoBlock => "no block of the heap",
        Place::Stack => "a stack",
        Place::StaticData => "static data",
        Place::MappedFile => "a mapped file",
        Place::Anonymous => "memory of no heap",
        Place::Unmapped => "no memory there",
        Place::Code => "code",
        Place::OwnTables => "the heap's own tables",
        Place::OtherHeap => "another heap, no block",
    }
}

struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays for the line feed.
        let room = LINE_BYTES - 1 - self.len;
        let fits = text.len().min(room);
        self.bytes[self.len..self.len + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
