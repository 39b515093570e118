//! glibc's `_dl_find_object` (2.35 and later): which object is mapped at an address, without a lock.
//!
//! It is looked up here, in libc's own symbol table. Linking to it, even weakly, would bind the library to
//! the glibc that it was built with; `dlsym` takes the lock that is to be avoided, and allocates when it
//! finds nothing.
#![allow(unsafe_code, reason = "asks the loader")]

use super::elf::{PT_DYNAMIC, ProgramHeaders};
use crate::probe::Probe;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use hk_format::PAGE_BYTES;

const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const NAME: &[u8] = b"_dl_find_object\0";
/// Size of a symbol in bytes.
const SYMBOL_BYTES: u64 = 24;
/// Entries looked at in the dynamic section and in a hash chain, so that damage cannot keep us.
const ENTRIES_MAX: u64 = 256;
/// How far before a function of libc its first page is looked for; libc has 2 MiB.
const LIBC_BYTES_MAX: u64 = 32 << 20;

/// glibc's `struct dl_find_object` on x86-64.
#[repr(C)]
pub(super) struct FoundObject {
    flags: u64,
    pub(super) map_start: u64,
    pub(super) map_end: u64,
    pub(super) link_map: u64,
    pub(super) eh_frame_hdr: u64,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(address: u64, result: *mut FoundObject) -> i32;

/// What is known of the function: nothing yet, that there is none, or its address.
static FUNCTION: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = 0;
const ABSENT: usize = 1;

/// Whether there is the function.
pub(super) fn can_be_asked() -> bool {
    function_address() != ABSENT
}

/// The object that is mapped over `address`; None also if the loader cannot be asked.
pub(super) fn find_object(address: u64) -> Option<FoundObject> {
    let function = function_address();
    if function == ABSENT {
        return None;
    }
    // SAFETY: the address of glibc's function of that name, which has this signature.
    let find = unsafe { core::mem::transmute::<usize, FindObject>(function) };
    let mut found = MaybeUninit::<FoundObject>::zeroed();
    // SAFETY: the function takes any address and writes one object at most; it takes no lock.
    let result = unsafe { find(address, found.as_mut_ptr()) };
    // SAFETY: zeroed above, and any integers are valid.
    let found = unsafe { found.assume_init() };
    (result == 0).then_some(found)
}

pub(super) fn function_address() -> usize {
    match FUNCTION.load(Ordering::Relaxed) {
        UNKNOWN => {
            // Any function of libc will do that programs are not likely to replace.
            let some_function = libc::getauxval as *const () as u64;
            let found = look_up(some_function, &mut Probe::default());
            let found = found.map_or(ABSENT, |address| address as usize);
            FUNCTION.store(found, Ordering::Relaxed);
            found
        }
        known => known,
    }
}

/// Where the ELF file begins that `inside` lies in: the page before it with a header that covers it.
fn file_base(inside: u64, probe: &mut Probe) -> Option<u64> {
    let last = inside - inside % PAGE_BYTES as u64;
    let first = last.saturating_sub(LIBC_BYTES_MAX);
    (first..=last).rev().step_by(PAGE_BYTES).find(|&start| {
        ProgramHeaders::at(start, probe)
            .is_some_and(|mut headers| headers.any(|header| header.covers(start, inside)))
    })
}

/// The function's address in the library that `inside` lies in.
fn look_up(inside: u64, probe: &mut Probe) -> Option<u64> {
    let base = file_base(inside, probe)?;
    let dynamic = ProgramHeaders::at(base, probe)?.find(|header| header.kind == PT_DYNAMIC)?;
    let dynamic = base.wrapping_add(dynamic.address);
    let mut table = |wanted: u64| {
        let entry = (0..ENTRIES_MAX)
            .map(|index| dynamic + 16 * index)
            .find(|&entry| probe.word(entry).is_none_or(|tag| tag == wanted || tag == 0))?;
        let value = (probe.word(entry)? == wanted).then(|| probe.word(entry + 8))??;
        // The loader may have added its base already.
        Some(if value < base { value + base } else { value })
    };
    let (strings, symbols, hash) = (table(DT_STRTAB)?, table(DT_SYMTAB)?, table(DT_GNU_HASH)?);
    let bucket_count = u64::from(probe.half(hash)?);
    let first = u64::from(probe.half(hash + 4)?);
    let bloom_words = u64::from(probe.half(hash + 8)?);
    let buckets = hash + 16 + 8 * bloom_words;
    let chains = buckets + 4 * bucket_count;
    let wanted = gnu_hash(&NAME[..NAME.len() - 1]);
    let bucket = u64::from(wanted).checked_rem(bucket_count)?;
    let start = u64::from(probe.half(buckets + 4 * bucket)?);
    for index in start..start + ENTRIES_MAX {
        let chain = probe.half(chains + 4 * index.checked_sub(first)?)?;
        let symbol = symbols + SYMBOL_BYTES * index;
        if chain | 1 == wanted | 1 && is_named(strings + u64::from(probe.half(symbol)?), probe) {
            let value = probe.word(symbol + 8)?;
            return (value != 0).then(|| base + value);
        }
        if chain & 1 == 1 {
            return None;
        }
    }
    None
}

fn is_named(string: u64, probe: &mut Probe) -> bool {
    NAME.iter().zip(string..).all(|(&byte, at)| probe.byte(at) == Some(byte))
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}
