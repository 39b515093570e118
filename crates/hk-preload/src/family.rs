//! malloc and its relatives, with the errors and corner cases of glibc 2.36 (malloc(3), posix_memalign(3)).

use crate::host::PROCESS;
use core::ptr::null_mut;
use heapkeeper::process::Call;
use hk_format::Family;
use hk_os::Errno;
use libc::{EINVAL, ENOMEM, c_int, c_void, size_t};

const PAGE_BYTES: usize = 4096;

/// The null of a request that overflows.
#[cold]
fn too_large() -> *mut c_void {
    Errno::set(ENOMEM);
    null_mut()
}

#[unsafe(no_mangle)]
extern "C" fn malloc(bytes: size_t) -> *mut c_void {
    PROCESS.allocate(bytes, Family::Malloc).cast()
}

#[unsafe(no_mangle)]
extern "C" fn free(block: *mut c_void) {
    PROCESS.free(block.cast(), Call::Free);
}

/// The same under an old name.
#[unsafe(no_mangle)]
extern "C" fn cfree(block: *mut c_void) {
    PROCESS.free(block.cast(), Call::Free);
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: size_t, bytes: size_t) -> *mut c_void {
    match count.checked_mul(bytes) {
        Some(bytes) => PROCESS.allocate_zeroed(bytes, Family::Malloc).cast(),
        None => too_large(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn realloc(block: *mut c_void, bytes: size_t) -> *mut c_void {
    if block.is_null() {
        return malloc(bytes);
    }
    if bytes == 0 {
        // As glibc: frees, and returns null without an error.
        PROCESS.free(block.cast(), Call::Realloc);
        return null_mut();
    }
    PROCESS.reallocate(block.cast(), bytes, Family::Malloc).cast()
}

#[unsafe(no_mangle)]
extern "C" fn reallocarray(block: *mut c_void, count: size_t, bytes: size_t) -> *mut c_void {
    match count.checked_mul(bytes) {
        Some(bytes) => realloc(block, bytes),
        None => too_large(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn memalign(align: size_t, bytes: size_t) -> *mut c_void {
    if align > isize::MAX as usize + 1 {
        Errno::set(EINVAL);
        return null_mut();
    }
    // As glibc: an alignment that is no power of two is rounded up to one.
    PROCESS.allocate_aligned(bytes, align.next_power_of_two(), Family::Malloc).cast()
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: size_t, bytes: size_t) -> *mut c_void {
    memalign(align, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn posix_memalign(place: *mut *mut c_void, align: size_t, bytes: size_t) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return EINVAL;
    }
    // It tells by its result, not by errno.
    let _errno = Errno::keep();
    let block = PROCESS.allocate_aligned(bytes, align, Family::Malloc);
    if block.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller gives a place for a pointer.
    unsafe { *place = block.cast() };
    0
}

#[unsafe(no_mangle)]
extern "C" fn valloc(bytes: size_t) -> *mut c_void {
    memalign(PAGE_BYTES, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn pvalloc(bytes: size_t) -> *mut c_void {
    match bytes.checked_next_multiple_of(PAGE_BYTES) {
        Some(bytes) => memalign(PAGE_BYTES, bytes),
        None => too_large(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn malloc_usable_size(block: *mut c_void) -> size_t {
    PROCESS.usable_bytes(block.cast())
}
