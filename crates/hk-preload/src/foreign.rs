//! Pointers that are not ours but are somebody's.
//!
//! glibc's own malloc is still reached by libraries that were loaded with RTLD_DEEPBIND, and an allocator
//! that the program links to may be called by names of its own (jemalloc's mallocx). What they hand out goes
//! back to them. Only an address that nobody owns is an invalid free.
//!
//! glibc's blocks are known by the head in front of them (malloc/malloc.c, "malloc_chunk"): checked as far as it can be
//! without calling glibc, which would abort on a bad one. Another allocator is given what lies in anonymous
//! memory and is not glibc's, if the program has one.

use crate::host::PROCESS;
use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use hk_format::Place;
use hk_recorder::{PlaceInfo, describe_place};
use libc::{c_int, size_t};

unsafe extern "C" {
    fn __libc_malloc(bytes: size_t) -> *mut c_void;
    fn __libc_memalign(align: size_t, bytes: size_t) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
    fn __libc_realloc(block: *mut c_void, bytes: size_t) -> *mut c_void;
    /// dladdr1(3).
    fn dladdr1(
        address: *const c_void,
        info: *mut libc::Dl_info,
        extra: *mut *mut c_void,
        flags: c_int,
    ) -> c_int;
}

type Free = unsafe extern "C" fn(*mut c_void);
type Realloc = unsafe extern "C" fn(*mut c_void, size_t) -> *mut c_void;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> size_t;

/// The malloc family behind us in the order of symbol look-up; null if not known.
static NEXT_FREE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_REALLOC: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_USABLE_SIZE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

const IS_MMAPPED: usize = 2;
const NON_MAIN_ARENA: usize = 4;
const FLAGS: usize = 7;
const CHUNK_BYTES_MIN: usize = 32;
/// Alignment of glibc's secondary heaps (malloc/arena.c, HEAP_MAX_SIZE on 64-bit).
const ARENA_BYTES: usize = 64 << 20;
const PAGE_BYTES: usize = 4096;

/// Who owns a foreign pointer.
enum Owner {
    Libc,
    Next,
}

/// Finds out who is behind us. At the start: the look-up may allocate and takes the loader's lock.
pub fn find_next() {
    for (name, place) in
        [(c"free", &NEXT_FREE), (c"realloc", &NEXT_REALLOC), (c"malloc_usable_size", &NEXT_USABLE_SIZE)]
    {
        // SAFETY: a NUL-terminated name.
        place.store(unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }, Ordering::Relaxed);
    }
}

/// Whether the program's calls of malloc reach this library. They do not if it defines malloc itself.
pub fn is_called() -> bool {
    // SAFETY: a NUL-terminated name.
    is_ours_or_undefined(unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) })
}

/// Whether the function at an address is this library's, as far as can be told. Its own functions' addresses tell nothing: they are those of
/// whoever comes first.
pub fn is_ours_or_undefined(address: *const c_void) -> bool {
    let ours: *const AtomicPtr<c_void> = &raw const NEXT_FREE;
    match (module_start(address), module_start(ours.cast())) {
        (Some(found), Some(ours)) => found == ours || !is_defined_at(address),
        _ => true,
    }
}

/// Whether a module defines the symbol at an address. A program linked for a fixed address that takes malloc's address has a symbol
/// there that is not defined: it stands for the function's entry in the procedure linkage table (System V ABI, AMD64 supplement,
/// "Function Addresses").
fn is_defined_at(address: *const c_void) -> bool {
    // SAFETY: all-zero is a valid value of a struct of pointers.
    let mut info: libc::Dl_info = unsafe { core::mem::zeroed() };
    let mut symbol: *mut c_void = null_mut();
    // SAFETY: looks an address up, whatever it is.
    if unsafe { dladdr1(address, &raw mut info, &raw mut symbol, RTLD_DL_SYMENT) } == 0 {
        return true;
    }
    // SAFETY: null, or the symbol's entry in a table of a loaded module.
    let symbol = unsafe { symbol.cast::<libc::Elf64_Sym>().as_ref() };
    symbol.is_none_or(|symbol| symbol.st_shndx != SHN_UNDEF)
}

const RTLD_DL_SYMENT: c_int = 1;
const SHN_UNDEF: u16 = 0;

/// Where the module that an address lies in was loaded.
fn module_start(address: *const c_void) -> Option<*mut c_void> {
    // SAFETY: all-zero is a valid value of a struct of pointers.
    let mut info: libc::Dl_info = unsafe { core::mem::zeroed() };
    // SAFETY: looks an address up, whatever it is.
    (unsafe { libc::dladdr(address, &raw mut info) } != 0).then_some(info.dli_fbase)
}

fn owner(block: *mut u8) -> Option<Owner> {
    if !PROCESS.heap().is_started() {
        // Without a heap all blocks are glibc's (`libc_allocate`).
        return Some(Owner::Libc);
    }
    let place = describe_place(block.addr() as u64);
    if !matches!(place.place, Place::OtherHeap | Place::Anonymous) || !block.addr().is_multiple_of(16) {
        return None;
    }
    if is_libc_block(block, &place) {
        return Some(Owner::Libc);
    }
    let next = NEXT_FREE.load(Ordering::Relaxed);
    let another = !next.is_null() && next != __libc_free as *mut c_void;
    another.then_some(Owner::Next)
}

/// Whether what stands in front of `block` is the head of a block of glibc's that is in use.
fn is_libc_block(block: *mut u8, place: &PlaceInfo) -> bool {
    let (start, end) = (place.start as usize, place.end as usize);
    let chunk = block.addr().wrapping_sub(16);
    if chunk < start || chunk >= end {
        return false;
    }
    let read = |address: usize| -> usize {
        // SAFETY: the caller checks that the address lies in the mapping, which is readable; it may hold anything.
        unsafe { block.with_addr(address).cast::<usize>().read_volatile() }
    };
    let head = read(chunk + 8);
    let bytes = head & !FLAGS;
    if head & IS_MMAPPED != 0 {
        let before = read(chunk);
        let mapping = chunk.wrapping_sub(before);
        return head & NON_MAIN_ARENA == 0
            && before < end - start
            && mapping.is_multiple_of(PAGE_BYTES)
            && before.wrapping_add(bytes).is_multiple_of(PAGE_BYTES)
            && mapping >= start
            && chunk.checked_add(bytes).is_some_and(|chunk_end| chunk_end <= end);
    }
    let next_end = bytes.checked_add(16).and_then(|bytes| chunk.checked_add(bytes));
    if bytes < CHUNK_BYTES_MIN || !bytes.is_multiple_of(16) || next_end.is_none_or(|next| next > end) {
        return false;
    }
    let home = if head & NON_MAIN_ARENA != 0 {
        // A secondary heap begins at its alignment with a pointer to its arena, inside the same heap or another.
        let heap = chunk & !(ARENA_BYTES - 1);
        heap >= start && read(heap) & !(ARENA_BYTES - 1) != 0
    } else {
        place.place == Place::OtherHeap
    };
    // The next block says that this one is in use (PREV_INUSE).
    home && read(chunk + bytes + 8) & 1 != 0
}

/// Gives a block back to its owner.
pub fn free(block: *mut u8) -> bool {
    match owner(block) {
        Some(Owner::Libc) => {
            // SAFETY: a block of glibc's, as far as can be told.
            unsafe { __libc_free(block.cast()) };
            true
        }
        Some(Owner::Next) => {
            let next = NEXT_FREE.load(Ordering::Relaxed);
            // SAFETY: not null (see `owner`), and the address of a function `free`.
            let next: Free = unsafe { core::mem::transmute(next) };
            // SAFETY: memory that is neither ours nor glibc's, in a program with another allocator.
            unsafe { next(block.cast()) };
            true
        }
        None => false,
    }
}

/// realloc by the owner.
pub fn reallocate(block: *mut u8, bytes: usize) -> Option<*mut u8> {
    match owner(block)? {
        // SAFETY: a block of glibc's, as far as can be told.
        Owner::Libc => Some(unsafe { __libc_realloc(block.cast(), bytes) }.cast()),
        Owner::Next => {
            let next = NEXT_REALLOC.load(Ordering::Relaxed);
            if next.is_null() {
                return None;
            }
            // SAFETY: the address of a function `realloc`.
            let next: Realloc = unsafe { core::mem::transmute(next) };
            // SAFETY: as in `free`.
            Some(unsafe { next(block.cast(), bytes) }.cast())
        }
    }
}

/// malloc_usable_size by the owner.
pub fn usable_bytes(block: *mut u8) -> Option<usize> {
    if let Owner::Libc = owner(block)? {
        return Some(libc_usable_bytes(block));
    }
    let next = NEXT_USABLE_SIZE.load(Ordering::Relaxed);
    if next.is_null() {
        return None;
    }
    // SAFETY: the address of a function `malloc_usable_size`: the other allocator's, or glibc's.
    let next: UsableSize = unsafe { core::mem::transmute(next) };
    // SAFETY: a block of theirs, as far as can be told.
    Some(unsafe { next(block.cast()) })
}

/// What glibc's malloc_usable_size says of a block of its own (malloc/malloc.c, "musable").
fn libc_usable_bytes(block: *mut u8) -> usize {
    // SAFETY: a block of glibc's in use has its head in front of it.
    let head = unsafe { block.with_addr(block.addr() - 8).cast::<usize>().read_volatile() };
    let overhead = if head & IS_MMAPPED != 0 { 16 } else { 8 };
    (head & !FLAGS) - overhead
}

/// Memory from glibc, for when no heap could be made.
pub fn libc_allocate(bytes: usize, align: usize) -> *mut u8 {
    if align > 16 {
        // SAFETY: glibc's own memalign; any arguments are fine.
        unsafe { __libc_memalign(align, bytes) }.cast()
    } else {
        // SAFETY: glibc's own malloc.
        unsafe { __libc_malloc(bytes) }.cast()
    }
}

const _: () = assert!(size_of::<c_int>() == 4);
