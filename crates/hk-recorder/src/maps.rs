//! What lies at an address that is not the heap's: asked of /proc/self/maps.
//!
//! The file is read in small parts and parsed byte by byte, so that neither a long line nor a long list
//! needs a buffer. It may change while it is read; the answer is for a report, not for a decision.

use crate::registers::Registers;
use crate::sys::{self, File};
use crate::unwind::is_in_module;
use hk_format::Place;

/// Bytes kept of a path (its end).
const NAME_BYTES: usize = 200;
/// Bytes read at once.
const CHUNK_BYTES: usize = 1024;
/// A mapping without any access right, of at most this many bytes, right before a writable one marks that
/// one as a thread's stack. glibc's default guard is one page; programs ask for some more.
const GUARD_BYTES_MAX: u64 = 1 << 20;

/// What lies at an address.
#[derive(Clone, Copy, Debug)]
pub struct PlaceInfo {
    /// The kind of memory.
    pub place: Place,
    /// First address of the mapping (0: none).
    pub start: u64,
    /// Its end.
    pub end: u64,
    name: Name,
}

impl PlaceInfo {
    /// Path of the file or module, or what the kernel calls the mapping (`[stack]`); empty if none.
    pub fn name(&self) -> &[u8] {
        self.name.bytes()
    }
}

/// Tells what lies at an address that the heap does not own. Where /proc is not there, it tells only
/// whether memory is mapped, and whether it is a module's.
pub fn describe_place(address: u64) -> PlaceInfo {
    let mut search =
        Search { address, own_sp: Registers::capture().rsp, previous: Mapping::NONE, file: Mapping::NONE };
    match for_each_mapping(|mapping| search.look_at(mapping)) {
        Some(found) => found.unwrap_or_else(|| nameless(Place::Unmapped)),
        None => without_proc(address),
    }
}

/// Where the beginning of the file (or vdso) is mapped whose code is mapped at `address`.
pub(crate) fn file_start(address: u64) -> Option<u64> {
    let mut file = Mapping::NONE;
    let start = for_each_mapping(|mapping| {
        let is_file = mapping.inode != 0 || mapping.name.bytes() == b"[vdso]";
        if is_file && (mapping.offset == 0 || !file.is_same_file(mapping)) {
            file = *mapping;
        }
        let contains = mapping.contains(address);
        (contains || mapping.start > address)
            .then_some((contains && is_file && mapping.executable).then_some(file.start))
    });
    start?
}

fn nameless(place: Place) -> PlaceInfo {
    PlaceInfo { place, start: 0, end: 0, name: Name::EMPTY }
}

fn without_proc(address: u64) -> PlaceInfo {
    nameless(if is_in_module(address) {
        Place::StaticData
    } else if sys::is_readable(address as usize) {
        Place::Anonymous
    } else {
        Place::Unmapped
    })
}

/// The search for the mapping of one address, with what has to be known of those before it.
struct Search {
    address: u64,
    /// Stack pointer of the calling thread.
    own_sp: u64,
    previous: Mapping,
    /// The last mapping of a file, and the anonymous ones right behind it: a module's zeroed data.
    file: Mapping,
}

impl Search {
    /// Some when the search is over.
    fn look_at(&mut self, mapping: &Mapping) -> Option<Option<PlaceInfo>> {
        if mapping.start > self.address {
            return Some(None);
        }
        let behind_file = mapping.inode == 0 && mapping.start == self.file.end;
        if mapping.end > self.address {
            return Some(Some(self.describe(mapping, behind_file)));
        }
        if mapping.inode != 0 {
            let executable = mapping.executable || (self.file.executable && self.file.is_same_file(mapping));
            self.file = Mapping { executable, ..*mapping };
        } else if behind_file {
            self.file.end = mapping.end;
        }
        self.previous = *mapping;
        None
    }

    fn describe(&self, mapping: &Mapping, behind_file: bool) -> PlaceInfo {
        let place = self.classify(mapping, behind_file);
        let of_file = place == Place::StaticData && mapping.inode == 0 && behind_file;
        let name = if of_file { self.file.name } else { mapping.name };
        PlaceInfo { place, start: mapping.start, end: mapping.end, name }
    }

    fn classify(&self, mapping: &Mapping, behind_file: bool) -> Place {
        let name = mapping.name.bytes();
        if mapping.executable {
            Place::Code
        } else if name == b"[stack]" || name.starts_with(b"[anon: glibc: pthread") {
            Place::Stack
        } else if name == b"[heap]" || name.starts_with(b"[anon: glibc: malloc") {
            Place::OtherHeap
        } else if is_in_module(self.address) || name == b"[vvar]" {
            Place::StaticData
        } else if mapping.inode != 0 {
            // A module that the loader does not tell of (an old one): its code was mapped before its data.
            let module = self.file.executable && self.file.is_same_file(mapping) && !mapping.shared;
            if module { Place::StaticData } else { Place::MappedFile }
        } else if mapping.shared {
            Place::MappedFile
        } else if !mapping.readable && !mapping.writable {
            Place::Unmapped
        } else if behind_file
            && self.file.executable
            && self.file.writable
            // Of a module that the loader tells of it is known where it ends; what stands behind that is somebody else's.
            && !is_in_module(self.file.start)
        {
            Place::StaticData
        } else if mapping.contains(self.own_sp) || self.is_behind_guard(mapping) {
            Place::Stack
        } else {
            Place::Anonymous
        }
    }

    fn is_behind_guard(&self, mapping: &Mapping) -> bool {
        let before = &self.previous;
        let guard = !before.readable && !before.writable && !before.executable && before.inode == 0;
        guard && before.end == mapping.start && before.end - before.start <= GUARD_BYTES_MAX
    }
}

/// One line of /proc/self/maps.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    start: u64,
    end: u64,
    readable: bool,
    writable: bool,
    executable: bool,
    shared: bool,
    /// Where in the file it begins, in bytes.
    offset: u64,
    /// 0 if there is no file.
    inode: u64,
    name: Name,
}

impl Mapping {
    const NONE: Mapping = Mapping {
        start: 0,
        end: 0,
        readable: false,
        writable: false,
        executable: false,
        shared: false,
        offset: 0,
        inode: 0,
        name: Name::EMPTY,
    };

    fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    fn is_same_file(&self, other: &Mapping) -> bool {
        self.inode == other.inode && self.name.bytes() == other.name.bytes()
    }

    /// Of the last file, with the next mapping: whether that is the file's, or anonymous and right behind it.
    fn note_next(&mut self, next: &Mapping) -> bool {
        if next.inode == 0 {
            let is_behind = next.start == self.end && next.name.bytes().is_empty();
            self.end = if is_behind { next.end } else { self.end };
            return is_behind;
        }
        let executable = next.executable || self.executable && self.is_same_file(next);
        *self = Mapping { executable, ..*next };
        true
    }
}

/// The end of a path.
#[derive(Clone, Copy, Debug)]
struct Name {
    bytes: [u8; NAME_BYTES],
    len: usize,
}

impl Name {
    const EMPTY: Name = Name { bytes: [0; NAME_BYTES], len: 0 };

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds a byte; a full name loses its first half, so that its end is kept.
    fn push(&mut self, byte: u8) {
        if self.len == NAME_BYTES {
            self.bytes.copy_within(NAME_BYTES / 2.., 0);
            self.len = NAME_BYTES / 2;
        }
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// A mapping that can be read.
#[derive(Clone, Copy, Debug)]
pub struct ReadableMapping {
    /// First address.
    pub start: usize,
    /// Its end.
    pub end: usize,
    /// What a program may have put into it.
    pub data: MappedData,
    /// It is the first thread's stack, from its end down to where the thread stands.
    pub is_first_stack: bool,
    /// It is no file's, and no other process's: what is there stays readable while all threads stand still.
    pub is_private: bool,
    /// What is written to it others see too.
    pub is_shared: bool,
    /// It is data of the program or of a library: of a file that has code too, or the zeroed rest behind that.
    pub is_static: bool,
    name: Name,
}

impl ReadableMapping {
    /// Path of the file, or what the kernel calls the mapping; empty if neither. Of a long one its end.
    pub fn name(&self) -> &[u8] {
        self.name.bytes()
    }
}

/// What of a mapping a program may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappedData {
    /// All of it.
    All,
    /// Pages that are no file's any more: the mapping can't be written to now, but may have been.
    CopiedPages,
    /// Nothing, or it is a device's.
    None,
}

/// Calls `found` with each mapping that can be read, in the order of addresses. False if they can't be listed.
pub fn for_each_readable_mapping(mut found: impl FnMut(&ReadableMapping)) -> bool {
    let mut count = 0_u32;
    let mut file = Mapping::NONE;
    let listed = for_each_mapping(|mapping| {
        count += 1;
        let is_of_file = file.note_next(mapping);
        if mapping.readable {
            found(&ReadableMapping {
                start: mapping.start as usize,
                end: mapping.end as usize,
                data: data_of(mapping),
                is_first_stack: mapping.name.bytes() == b"[stack]",
                is_private: mapping.inode == 0 && !mapping.shared,
                is_shared: mapping.shared,
                is_static: is_of_file && file.executable && !mapping.shared,
                name: mapping.name,
            });
        }
        None::<Option<()>>
    });
    listed.is_some() && count > 0
}

/// Calls `found` with the first address of each file that is mapped from its beginning on and has code, and with its path.
pub(crate) fn for_each_file_with_code(mut found: impl FnMut(u64, &[u8])) {
    let mut file = Mapping::NONE;
    let _ = for_each_mapping(|mapping| {
        if mapping.inode != 0 && mapping.offset == 0 && !file.is_same_file(mapping) {
            file = Mapping { executable: false, ..*mapping };
        }
        if mapping.executable && !file.executable && file.is_same_file(mapping) && file.readable {
            file.executable = true;
            found(file.start, file.name.bytes());
        }
        None::<Option<()>>
    });
}

fn data_of(mapping: &Mapping) -> MappedData {
    let name = mapping.name.bytes();
    let is_device =
        name.starts_with(b"/dev/") && !name.starts_with(b"/dev/zero") && !name.starts_with(b"/dev/shm/");
    match (mapping.shared, mapping.writable, mapping.inode) {
        _ if is_device || name.starts_with(b"[vvar") || name == b"[vdso]" || name == b"[vsyscall]" => {
            MappedData::None
        }
        (true, false, _) => MappedData::None,
        (_, true, _) | (false, false, 0) => MappedData::All,
        (false, false, _) => MappedData::CopiedPages,
    }
}

/// Calls `visit` with each mapping in order of address until it gives a value. None if the list cannot be
/// read; Some(None) also if no mapping gave one.
fn for_each_mapping<T>(mut visit: impl FnMut(&Mapping) -> Option<Option<T>>) -> Option<Option<T>> {
    // The thread's, as the process's has nothing more once its first thread has left (proc(5)).
    let file = File::open(c"/proc/thread-self/maps", libc::O_RDONLY).ok()?;
    let mut parser = Parser { column: Column::Start, mapping: Mapping::NONE };
    let mut chunk = [0u8; CHUNK_BYTES];
    loop {
        let len = file.read(&mut chunk).ok()?.min(CHUNK_BYTES);
        if len == 0 {
            return Some(None);
        }
        for &byte in &chunk[..len] {
            if let Some(mapping) = parser.feed(byte)
                && let Some(result) = visit(&mapping)
            {
                return Some(result);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Start,
    End,
    Rights,
    Offset,
    Device,
    Inode,
    Name,
}

/// Reads `start-end rwxp offset device inode   name` a byte at a time.
struct Parser {
    column: Column,
    mapping: Mapping,
}

impl Parser {
    /// A mapping when `byte` ends its line.
    fn feed(&mut self, byte: u8) -> Option<Mapping> {
        if byte == b'\n' {
            self.column = Column::Start;
            return Some(core::mem::replace(&mut self.mapping, Mapping::NONE));
        }
        let mapping = &mut self.mapping;
        match (self.column, byte) {
            (Column::Start, b'-') => self.column = Column::End,
            (Column::Start, _) => mapping.start = push_digit(mapping.start, byte, 16),
            (Column::End, b' ') => self.column = Column::Rights,
            (Column::End, _) => mapping.end = push_digit(mapping.end, byte, 16),
            (Column::Rights, b' ') => self.column = Column::Offset,
            (Column::Rights, b'r') => mapping.readable = true,
            (Column::Rights, b'w') => mapping.writable = true,
            (Column::Rights, b'x') => mapping.executable = true,
            (Column::Rights, b's') => mapping.shared = true,
            (Column::Rights, _) => {}
            (Column::Offset, b' ') => self.column = Column::Device,
            (Column::Device, b' ') => self.column = Column::Inode,
            (Column::Offset, _) => mapping.offset = push_digit(mapping.offset, byte, 16),
            (Column::Device, _) => {}
            (Column::Inode, b' ') => self.column = Column::Name,
            (Column::Inode, _) => mapping.inode = push_digit(mapping.inode, byte, 10),
            (Column::Name, b' ') if mapping.name.len == 0 => {}
            (Column::Name, _) => mapping.name.push(byte),
        }
        None
    }
}

fn push_digit(number: u64, digit: u8, base: u64) -> u64 {
    let digit = char::from(digit).to_digit(base as u32).unwrap_or(0);
    number.wrapping_mul(base).wrapping_add(u64::from(digit))
}
