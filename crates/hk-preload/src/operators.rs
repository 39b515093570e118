//! C++'s operator new and operator delete, so that it is known which of them a block came from and went back to
//! ([new.delete.single], [new.delete.array] of the C++ standard; names by the Itanium C++ ABI).
//!
//! A program that defines them itself keeps its own. Where there is no memory, libstdc++'s function takes over: it calls the new handler,
//! and throws. Without libstdc++ there is nobody to throw, and nobody to catch.
//!
//! An exception so passes through frames of this file. They have unwind tables and nothing to clean up; "C-unwind" would say so to the
//! compiler, which then wants the personality routine of Rust's std, to end the process by it.

use crate::host::PROCESS;
use crate::next::Next;
use core::ffi::c_void;
use core::ptr::null_mut;
use heapkeeper::process::{Call, GivenLayout};
use hk_format::Family;
use libc::size_t;

static NEXT_NEW: Next = Next::new(c"_Znwm");
static NEXT_NEW_ARRAY: Next = Next::new(c"_Znam");
static NEXT_NEW_ALIGNED: Next = Next::new(c"_ZnwmSt11align_val_t");
static NEXT_NEW_ARRAY_ALIGNED: Next = Next::new(c"_ZnamSt11align_val_t");

type New = unsafe extern "C" fn(size_t) -> *mut c_void;
type NewAligned = unsafe extern "C" fn(size_t, size_t) -> *mut c_void;

#[cold]
#[inline(never)]
fn without_memory(next: &Next, bytes: size_t) -> *mut c_void {
    let next = next.find();
    if next.is_null() {
        return null_mut();
    }
    // SAFETY: the address of libstdc++'s function of that name, which has this type.
    let next: New = unsafe { core::mem::transmute(next) };
    // SAFETY: the caller's argument. It may throw, which this code has nothing to clean up for.
    unsafe { next(bytes) }
}

#[cold]
#[inline(never)]
fn without_aligned_memory(next: &Next, bytes: size_t, align: size_t) -> *mut c_void {
    let next = next.find();
    if next.is_null() {
        return null_mut();
    }
    // SAFETY: as above.
    let next: NewAligned = unsafe { core::mem::transmute(next) };
    // SAFETY: as above.
    unsafe { next(bytes, align) }
}

#[inline(always)]
fn new(bytes: size_t, family: Family, next: &Next) -> *mut c_void {
    let block = PROCESS.allocate(bytes, family);
    if block.is_null() { without_memory(next, bytes) } else { block.cast() }
}

#[inline(always)]
fn new_aligned(bytes: size_t, align: size_t, family: Family, next: &Next) -> *mut c_void {
    let block = PROCESS.allocate_aligned(bytes, align, family);
    if block.is_null() { without_aligned_memory(next, bytes, align) } else { block.cast() }
}

#[inline(always)]
fn delete(block: *mut c_void, call: Call, bytes: Option<size_t>, align: size_t) {
    PROCESS.free_with(block.cast(), call, GivenLayout::new(bytes, align));
}

// SAFETY (all of these): the signatures are those of the operators with these names.

#[unsafe(no_mangle)]
extern "C" fn _Znwm(bytes: size_t) -> *mut c_void {
    new(bytes, Family::New, &NEXT_NEW)
}

#[unsafe(no_mangle)]
extern "C" fn _Znam(bytes: size_t) -> *mut c_void {
    new(bytes, Family::NewArray, &NEXT_NEW_ARRAY)
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZnwmRKSt9nothrow_t(bytes: size_t, _nothrow: *const c_void) -> *mut c_void {
    PROCESS.allocate(bytes, Family::New).cast()
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZnamRKSt9nothrow_t(bytes: size_t, _nothrow: *const c_void) -> *mut c_void {
    PROCESS.allocate(bytes, Family::NewArray).cast()
}

#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_t(bytes: size_t, align: size_t) -> *mut c_void {
    new_aligned(bytes, align, Family::New, &NEXT_NEW_ALIGNED)
}

#[unsafe(no_mangle)]
extern "C" fn _ZnamSt11align_val_t(bytes: size_t, align: size_t) -> *mut c_void {
    new_aligned(bytes, align, Family::NewArray, &NEXT_NEW_ARRAY_ALIGNED)
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZnwmSt11align_val_tRKSt9nothrow_t(
    bytes: size_t,
    align: size_t,
    _nothrow: *const c_void,
) -> *mut c_void {
    PROCESS.allocate_aligned(bytes, align, Family::New).cast()
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZnamSt11align_val_tRKSt9nothrow_t(
    bytes: size_t,
    align: size_t,
    _nothrow: *const c_void,
) -> *mut c_void {
    PROCESS.allocate_aligned(bytes, align, Family::NewArray).cast()
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPv(block: *mut c_void) {
    delete(block, Call::Delete, None, 1);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPv(block: *mut c_void) {
    delete(block, Call::DeleteArray, None, 1);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvm(block: *mut c_void, bytes: size_t) {
    delete(block, Call::Delete, Some(bytes), 1);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvm(block: *mut c_void, bytes: size_t) {
    delete(block, Call::DeleteArray, Some(bytes), 1);
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvRKSt9nothrow_t(block: *mut c_void, _nothrow: *const c_void) {
    delete(block, Call::Delete, None, 1);
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvRKSt9nothrow_t(block: *mut c_void, _nothrow: *const c_void) {
    delete(block, Call::DeleteArray, None, 1);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvSt11align_val_t(block: *mut c_void, align: size_t) {
    delete(block, Call::Delete, None, align);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvSt11align_val_t(block: *mut c_void, align: size_t) {
    delete(block, Call::DeleteArray, None, align);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdlPvmSt11align_val_t(block: *mut c_void, bytes: size_t, align: size_t) {
    delete(block, Call::Delete, Some(bytes), align);
}

#[unsafe(no_mangle)]
extern "C" fn _ZdaPvmSt11align_val_t(block: *mut c_void, bytes: size_t, align: size_t) {
    delete(block, Call::DeleteArray, Some(bytes), align);
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZdlPvSt11align_val_tRKSt9nothrow_t(
    block: *mut c_void,
    align: size_t,
    _nothrow: *const c_void,
) {
    delete(block, Call::Delete, None, align);
}

/// nothrow
#[unsafe(no_mangle)]
extern "C" fn _ZdaPvSt11align_val_tRKSt9nothrow_t(
    block: *mut c_void,
    align: size_t,
    _nothrow: *const c_void,
) {
    delete(block, Call::DeleteArray, None, align);
}
