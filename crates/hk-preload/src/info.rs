//! What programs may ask of an allocator, and tell it (mallinfo(3), mallopt(3), malloc_info(3)).

use crate::host::PROCESS;
use core::ffi::c_char;
use hk_os::Errno;
use libc::{EINVAL, FILE, c_int, size_t};

unsafe extern "C" {
    static stderr: *mut FILE;
    fn fprintf(stream: *mut FILE, format: *const c_char, ...) -> c_int;
}

/// The library's version, for tools that look which allocator a process has.
#[unsafe(no_mangle)]
extern "C" fn heapkeeper_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// mallinfo(3).
#[repr(C)]
#[derive(Default)]
pub struct MallInfo<T> {
    arena: T,
    ordblks: T,
    smblks: T,
    hblks: T,
    hblkhd: T,
    usmblks: T,
    fsmblks: T,
    uordblks: T,
    fordblks: T,
    keepcost: T,
}

#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo<size_t> {
    let count = PROCESS.count();
    let (live, spans) = (count.live_bytes as usize, count.span_bytes as usize);
    let dirty = count.dirty_bytes as usize;
    MallInfo {
        arena: spans + dirty,
        ordblks: count.spans as usize,
        uordblks: live,
        fordblks: spans + dirty - live,
        keepcost: dirty,
        ..MallInfo::default()
    }
}

#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> MallInfo<c_int> {
    let info = mallinfo2();
    // As glibc: numbers that do not fit wrap round.
    MallInfo {
        arena: info.arena as c_int,
        ordblks: info.ordblks as c_int,
        uordblks: info.uordblks as c_int,
        fordblks: info.fordblks as c_int,
        keepcost: info.keepcost as c_int,
        ..MallInfo::default()
    }
}

/// All of glibc's parameters are about mechanisms that this heap does not have; it accepts them.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// Gives free memory back at once. The padding is not kept: there is no top to keep it at.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(_padding: size_t) -> c_int {
    let _errno = Errno::keep();
    c_int::from(PROCESS.trim())
}

#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    let count = PROCESS.count();
    let text = c"heapkeeper: %zu bytes in %zu live blocks, %zu bytes in %zu spans, %zu bytes free and not yet returned\n";
    // SAFETY: a standard stream, and a format with five sizes.
    unsafe {
        fprintf(
            stderr,
            text.as_ptr(),
            count.live_bytes as size_t,
            count.live_blocks as size_t,
            count.span_bytes as size_t,
            count.spans as size_t,
            count.dirty_bytes as size_t,
        )
    };
}

#[unsafe(no_mangle)]
extern "C" fn malloc_info(options: c_int, stream: *mut FILE) -> c_int {
    if options != 0 {
        Errno::set(EINVAL);
        return -1;
    }
    let count = PROCESS.count();
    let text = c"<malloc version=\"heapkeeper-1\">\n<heap nr=\"0\">\n<live blocks=\"%zu\" bytes=\"%zu\"/>\n<spans count=\"%zu\" bytes=\"%zu\"/>\n<free bytes=\"%zu\"/>\n</heap>\n</malloc>\n";
    // SAFETY: the caller's stream, and a format with five sizes.
    let written = unsafe {
        fprintf(
            stream,
            text.as_ptr(),
            count.live_blocks as size_t,
            count.live_bytes as size_t,
            count.spans as size_t,
            count.span_bytes as size_t,
            count.dirty_bytes as size_t,
        )
    };
    if written < 0 { -1 } else { 0 }
}
