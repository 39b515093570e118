//! C++'s operator new and operator delete, so that it is known which of them a block came from and went back to
//! ([new.delete.single], [new.delete.array] of the C++ standard; names by the Itanium C++ ABI).
//!
//! A program that defines some of them itself keeps its own: then the others are left to libstdc++, whose functions call the program's where
//! the standard says so. Where there is no memory, libstdc++'s function takes over: it calls the new handler,
//! and throws. Without libstdc++ there is nobody to throw, and nobody to catch.
//!
//! An exception so passes through frames of this file. They have unwind tables and nothing to clean up; "C-unwind" would say so to the
//! compiler, which then wants the personality routine of Rust's std, to end the process by it.

use crate::foreign;
use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering};
use heapkeeper::process::{Call, GivenLayout};
use hk_format::Family;
use libc::size_t;

/// Whether the program has operators of its own, so that these here are libstdc++'s affair.
static IS_LEFT: AtomicBool = AtomicBool::new(false);

/// What a program may define (\[replacement.functions]); all others call these.
const REPLACEABLE: [&CStr; 8] = [
    c"_Znwm",
    c"_Znam",
    c"_ZnwmSt11align_val_t",
    c"_ZnamSt11align_val_t",
    c"_ZdlPv",
    c"_ZdaPv",
    c"_ZdlPvSt11align_val_t",
    c"_ZdaPvSt11align_val_t",
];

/// At the start: looks whose operators the program calls.
pub fn begin() {
    let is_replaced = |name: &CStr| {
        // SAFETY: a NUL-terminated name.
        !foreign::is_ours_or_undefined(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
    };
    if REPLACEABLE.iter().any(|name| is_replaced(name)) {
        IS_LEFT.store(true, Ordering::Relaxed);
    }
}

/// All operators take integers and give one, or nothing: those that take fewer ignore the rest (System V ABI, AMD64, 3.2.3).
type Operator = unsafe extern "C" fn(usize, usize, usize) -> *mut c_void;

/// libstdc++'s operator, if there is one.
#[cold]
#[inline(never)]
fn next(next: &Next, first: usize, second: usize, third: usize) -> Option<*mut c_void> {
    let next = next.find();
    if next.is_null() {
        return None;
    }
    // SAFETY: the address of libstdc++'s function of that name: see the type.
    let next: Operator = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's arguments.
    Some(unsafe { next(first, second, third) })
}

/// `$allocate`, but libstdc++'s function where the program has operators of its own, or where there is no memory.
macro_rules! new {
    ($name:literal, $allocate:expr, $($argument:expr),*) => {{
        static NEXT: Next = Next::new($name);
        let [first, second, third] = arguments(&[$($argument),*]);
        if !IS_LEFT.load(Ordering::Relaxed) {
            let block: *mut u8 = $allocate;
            if !block.is_null() {
                return block.cast();
            }
        }
        next(&NEXT, first, second, third).unwrap_or(null_mut())
    }};
}

/// Gives the block back, or leaves that to libstdc++.
macro_rules! delete {
    ($name:literal, $call:expr, $bytes:expr, $align:expr, $($argument:expr),*) => {{
        static NEXT: Next = Next::new($name);
        let arguments = arguments(&[$($argument),*]);
        let [first, second, third] = arguments;
        if !IS_LEFT.load(Ordering::Relaxed) || next(&NEXT, first, second, third).is_none() {
            let block = core::ptr::with_exposed_provenance_mut(first);
            PROCESS.free_with(block, $call, GivenLayout::new($bytes, $align));
        }
    }};
}

#[inline(always)]
fn arguments(given: &[usize]) -> [usize; 3] {
    [0, 1, 2].map(|nth| given.get(nth).copied().unwrap_or(0))
}

// SAFETY (all of these): the signatures are those of the operators with these names.

#[unsafe(no_mangle)]
extern "C" fn _Znwm(bytes: size_t) -> *mut c_void {
    new!(c"_Znwm", PROCESS.allocate(bytes, Family::New), bytes)
}

#[unsafe(no_mangle)]
extern "C" fn _Znam(bytes: size_t) -> *mut c_void {
    new!(c"_Znam", PROCESS.allocate(bytes, Family::NewArray), bytes)
}

#[unsafe(no_mangle)]
extern "C" fn _ZnwmRKSt9nothrow_t(bytes: size_t, nothrow: *const c_void) -> *mut c_void {
    new!(c"_ZnwmRKSt9nothrow_t", PROCESS.allocate(bytes, Family::New), bytes, nothrow.addr())
}

#[unsafe(no_mangle)]
extern "C" fn _ZnamRKSt9nothrow_t(bytes: size_t, nothrow: *const c_void) -> *mut c_void {
    new!(c"_ZnamRKSt9nothrow_t", PROCESS.allocate(bytes, Family::NewArray), bytes, nothrow.addr())
}

#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_t(bytes: size_t, align: size_t) -> *mut c_void {
    new!(c"_ZnwmSt11align_val_t", PROCESS.allocate_aligned(bytes, align, Family::New), bytes, align)
}

#[unsafe(no_mangle)]
extern "C" fn _ZnamSt11align_val_t(bytes: size_t, align: size_t) -> *mut c_void {
    new!(c"_ZnamSt11align_val_t", PROCESS.allocate_aligned(bytes, align, Family::NewArray), bytes, align)
}

#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    bytes: size_t,
    align: size_t,
    nothrow: *const c_void,
) -> *mut c_void {
    new!(
        c"_ZnwmSt11align_val_tRKSt9nothrow_t",
        PROCESS.allocate_aligned(bytes, align, Family::New),
        bytes,
        align,
        nothrow.addr()
    )
}

#[unsafe(no_mangle)]
extern "C" fn _ZnamSt11align_val_tRKSt9nothrow_t(
    bytes: size_t,
    align: size_t,
    nothrow: *const c_void,
) -> *mut c_void {
    new!(
        c"_ZnamSt11align_val_tRKSt9nothrow_t",
        PROCESS.allocate_aligned(bytes, align, Family::NewArray),
        bytes,
        align,
        nothrow.addr()
    )
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPv(block: *mut c_void) {
    delete!(c"_ZdlPv", Call::Delete, None, 1, block.expose_provenance());
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPv(block: *mut c_void) {
    delete!(c"_ZdaPv", Call::DeleteArray, None, 1, block.expose_provenance());
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvm(block: *mut c_void, bytes: size_t) {
    delete!(c"_ZdlPvm", Call::Delete, Some(bytes), 1, block.expose_provenance(), bytes);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvm(block: *mut c_void, bytes: size_t) {
    delete!(c"_ZdaPvm", Call::DeleteArray, Some(bytes), 1, block.expose_provenance(), bytes);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvRKSt9nothrow_t(block: *mut c_void, nothrow: *const c_void) {
    delete!(c"_ZdlPvRKSt9nothrow_t", Call::Delete, None, 1, block.expose_provenance(), nothrow.addr());
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvRKSt9nothrow_t(block: *mut c_void, nothrow: *const c_void) {
    delete!(c"_ZdaPvRKSt9nothrow_t", Call::DeleteArray, None, 1, block.expose_provenance(), nothrow.addr());
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvSt11align_val_t(block: *mut c_void, align: size_t) {
    delete!(c"_ZdlPvSt11align_val_t", Call::Delete, None, align, block.expose_provenance(), align);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvSt11align_val_t(block: *mut c_void, align: size_t) {
    delete!(c"_ZdaPvSt11align_val_t", Call::DeleteArray, None, align, block.expose_provenance(), align);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvmSt11align_val_t(block: *mut c_void, bytes: size_t, align: size_t) {
    delete!(
        c"_ZdlPvmSt11align_val_t",
        Call::Delete,
        Some(bytes),
        align,
        block.expose_provenance(),
        bytes,
        align
    );
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvmSt11align_val_t(block: *mut c_void, bytes: size_t, align: size_t) {
    delete!(
        c"_ZdaPvmSt11align_val_t",
        Call::DeleteArray,
        Some(bytes),
        align,
        block.expose_provenance(),
        bytes,
        align
    );
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvSt11align_val_tRKSt9nothrow_t(block: *mut c_void, align: size_t, nothrow: *const c_void) {
    delete!(
        c"_ZdlPvSt11align_val_tRKSt9nothrow_t",
        Call::Delete,
        None,
        align,
        block.expose_provenance(),
        align,
        nothrow.addr()
    );
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvSt11align_val_tRKSt9nothrow_t(block: *mut c_void, align: size_t, nothrow: *const c_void) {
    delete!(
        c"_ZdaPvSt11align_val_tRKSt9nothrow_t",
        Call::DeleteArray,
        None,
        align,
        block.expose_provenance(),
        align,
        nothrow.addr()
    );
}
