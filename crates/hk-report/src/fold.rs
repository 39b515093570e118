//! Which frames of a stack are a reader's own, and which belong to the language's or the system's library.

use crate::model::StackFrame;

/// Beginnings of library functions' names.
const FUNCTIONS: [&str; 35] = [
    // C++
    "std::",
    "__gnu_cxx::",
    "operator delete",
    "operator new",
    "__cxa_",
    "void std::",
    // Rust
    "core::",
    "alloc::",
    "<alloc::",
    "<core::",
    "<std::",
    "<&alloc::",
    "hashbrown::",
    "<hashbrown::",
    "__rust_",
    "__rdl_",
    "__rg_",
    "__rustc::",
    "rust_begin_",
    // The heap itself, where it is part of a Rust program
    "heapkeeper::",
    "<heapkeeper::",
    "hk_heap::",
    "<hk_heap::",
    "hk_recorder::",
    "<hk_recorder::",
    // C
    "__libc_",
    "__GI_",
    "__run_exit_handlers",
    "__cxa_finalize",
    "start_thread",
    "clone3",
    "__clone",
    "_start",
    "_dl_",
    "_IO_",
];

/// Parts of library sources' paths.
const FILES: [&str; 4] = ["/rustc/", "/usr/include/c++/", "/libstdc++-v3/", "/glibc-"];

/// Beginnings of library modules' file names.
const MODULES: [&str; 8] = [
    "libc.so",
    "libc-2.",
    "ld-linux",
    "libstdc++.so",
    "libc++.so",
    "libgcc_s",
    "libpthread",
    "libheapkeeper",
];

/// Whether a frame is library code, which a reader rarely wants to see.
pub fn is_library(frame: &StackFrame) -> bool {
    let named = |names: &[&str], text: &str| names.iter().any(|name| text.starts_with(name));
    let function = frame.function.as_deref().is_some_and(|function| named(&FUNCTIONS, function));
    let file = frame.file.as_deref().is_some_and(|file| FILES.iter().any(|part| file.contains(part)));
    let module = frame.module.as_deref().is_some_and(|module| named(&MODULES, file_name(module)));
    function || file || module
}

/// The last part of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The frame that a reader should look at first: the innermost that is not library code.
pub fn own_frame(stack: &[StackFrame]) -> Option<&StackFrame> {
    stack.iter().find(|frame| !is_library(frame))
}

/// A part of a stack as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The frame with this index.
    Frame(usize),
    /// Library frames from the first index up to, not including, the second.
    Folded(usize, usize),
}

/// Library frames that stand together are folded from this number on; behind the program's first function
/// (`__libc_start_main` and the like) from two on.
const FOLD_MIN: usize = 3;
const FOLD_MIN_AT_END: usize = 2;

/// What to show of a stack, in order. A stack of nothing but library frames is shown as it is.
pub fn parts(stack: &[StackFrame]) -> Vec<Part> {
    if own_frame(stack).is_none() {
        return (0..stack.len()).map(Part::Frame).collect();
    }
    let mut parts = Vec::new();
    let mut at = 0;
    while at < stack.len() {
        let run = stack[at..].iter().take_while(|frame| is_library(frame)).count();
        let end = at + run;
        let fold_min = if end == stack.len() { FOLD_MIN_AT_END } else { FOLD_MIN };
        if run >= fold_min {
            parts.push(Part::Folded(at, end));
        } else {
            parts.extend((at..end).map(Part::Frame));
        }
        if end < stack.len() {
            parts.push(Part::Frame(end));
        }
        at = end + 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;

    fn frame(function: &str) -> StackFrame {
        StackFrame {
            function: Some(function.into()),
            file: None,
            line: None,
            inlined: false,
            module: None,
            offset: None,
            pc: Address(1),
            source: None,
        }
    }

    fn shown(functions: &[&str]) -> Vec<Part> {
        parts(&functions.iter().map(|f| frame(f)).collect::<Vec<_>>())
    }

    #[test]
    fn folds_runs_of_library_frames() {
        use Part::{Folded, Frame};
        assert_eq!(shown(&["std::a", "std::b", "mine", "main"]), [Frame(0), Frame(1), Frame(2), Frame(3)]);
        assert_eq!(shown(&["std::a", "std::b", "std::c", "mine"]), [Folded(0, 3), Frame(3)]);
        assert_eq!(
            shown(&["mine", "std::a", "main", "__libc_start_call_main", "__libc_start_main_impl", "_start"]),
            [Frame(0), Frame(1), Frame(2), Folded(3, 6)]
        );
        assert_eq!(shown(&["main", "_start"]), [Frame(0), Frame(1)]);
        assert_eq!(shown(&["std::a", "std::b", "std::c"]), [Frame(0), Frame(1), Frame(2)]);
        assert_eq!(shown(&[]), []);
    }

    #[test]
    fn library_code_is_known_by_function_file_or_module() {
        assert!(!is_library(&frame("standard::order")));
        let file = StackFrame { file: Some("/rustc/abc/library/alloc/src/vec.rs".into()), ..frame("drop") };
        assert!(is_library(&file));
        let module = StackFrame { module: Some("/lib/x86_64-linux-gnu/libc.so.6".into()), ..frame("qsort") };
        assert!(is_library(&module));
    }
}
