//! By what one recognises an allocator, a runtime or a sanitizer inside a program.

use std::collections::BTreeSet;

/// The functions through which a program would reach our heap.
pub const MALLOC_FUNCTIONS: &[&str] = &["malloc", "free", "calloc", "realloc"];
/// operator new and operator delete, as C++ names them.
pub const NEW_FUNCTIONS: &[&str] = &["_Znwm", "_ZdlPv"];

/// An allocator of its own.
#[derive(Debug)]
pub struct Allocator {
    /// Its name, which is also its sign in [`super::elf::Elf`].
    pub name: &'static str,
    /// How its shared library's name begins.
    pub library: &'static str,
    /// Functions that it alone defines.
    symbols: &'static [&'static str],
    /// How the (mangled) names of its functions begin.
    prefixes: &'static [&'static str],
    /// Texts that its error messages contain: a hint, where no symbols are left.
    texts: &'static [&'static [u8]],
}

/// The allocators that programs commonly carry.
pub const ALLOCATORS: &[Allocator] = &[
    Allocator {
        name: "jemalloc",
        library: "libjemalloc",
        symbols: &[
            "mallctl",
            "mallocx",
            "je_malloc",
            "je_mallctl",
            "_rjem_malloc",
            "_rjem_mallocx",
            "_rjem_mallctl",
        ],
        prefixes: &["_rjem_je_", "je_arena_"],
        texts: &[b"<jemalloc>: "],
    },
    Allocator {
        name: "mimalloc",
        library: "libmimalloc",
        symbols: &["mi_malloc", "mi_version", "_mi_malloc_generic"],
        prefixes: &["_mi_page_", "_mi_heap_"],
        texts: &[b"mimalloc: "],
    },
    Allocator {
        name: "tcmalloc",
        library: "libtcmalloc",
        symbols: &["tc_malloc", "TCMallocInternalMalloc", "_ZN15MallocExtension8instanceEv"],
        prefixes: &["_ZN8tcmalloc"],
        texts: &[b"TCMALLOC_", b"tcmalloc: "],
    },
    Allocator {
        name: "rpmalloc",
        library: "librpmalloc",
        symbols: &["rpmalloc", "rpmalloc_initialize"],
        prefixes: &[],
        texts: &[],
    },
    Allocator {
        name: "snmalloc",
        library: "libsnmallocshim",
        symbols: &["sn_malloc", "sn_rust_alloc"],
        prefixes: &["_ZN8snmalloc"],
        texts: &[],
    },
    Allocator {
        name: "scudo",
        library: "libscudo",
        symbols: &[],
        prefixes: &["_ZN5scudo"],
        texts: &[b"Scudo ERROR"],
    },
];

/// A run-time system that serves its objects from a heap of its own, above malloc.
#[derive(Debug)]
pub struct Runtime {
    /// Its sign in [`super::elf::Elf`].
    pub name: &'static str,
    /// How its shared library's name begins.
    pub library: &'static str,
    symbols: &'static [&'static str],
    prefixes: &'static [&'static str],
    /// What it keeps from us, and what can be done.
    pub follows: &'static str,
}

/// Python's name in [`RUNTIMES`]; it has a setting that brings its objects to malloc.
pub const PYTHON: &str = "Python";

/// The runtimes that are worth a word.
pub const RUNTIMES: &[Runtime] = &[
    Runtime {
        name: PYTHON,
        library: "libpython",
        symbols: &["PyObject_Malloc"],
        prefixes: &[],
        follows: "its objects up to 512 bytes come from pools of Python's own; PYTHONMALLOC=malloc in the environment \
                  brings every one of them to heapkeeper",
    },
    Runtime {
        name: "V8",
        library: "libnode",
        symbols: &[],
        prefixes: &["_ZN2v88internal", "_ZN2v87Isolate"],
        follows: "JavaScript objects lie in V8's collected heap, which is not looked at; what C and C++ code allocates is",
    },
    Runtime {
        name: "the Java virtual machine",
        library: "libjli",
        symbols: &["JLI_Launch", "JNI_CreateJavaVM"],
        prefixes: &[],
        follows: "Java objects lie in its collected heap, which is not looked at; what native code allocates is",
    },
];

/// The run-time parts of the compilers' sanitizers: name, library, and a function that they alone define.
pub const SANITIZERS: &[(&str, &str, &str)] = &[
    ("AddressSanitizer", "libasan", "__asan_init"),
    ("ThreadSanitizer", "libtsan", "__tsan_init"),
    ("MemorySanitizer", "libmsan", "__msan_init"),
    ("HWAddressSanitizer", "libhwasan", "__hwasan_init"),
    ("LeakSanitizer", "liblsan", "__lsan_init"),
];

/// The function of the malloc family or of operator new with this name.
pub fn malloc_function(name: &str) -> Option<&'static str> {
    // Dynamic symbols of old libraries carry a version behind an @.
    let name = name.split('@').next().unwrap_or(name);
    MALLOC_FUNCTIONS.iter().chain(NEW_FUNCTIONS).copied().find(|known| *known == name)
}

/// What a defined symbol of this name is a sign of.
pub fn of_symbol(name: &str) -> Option<&'static str> {
    let known = |symbols: &[&str], prefixes: &[&str]| {
        symbols.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let allocator = ALLOCATORS.iter().find(|a| known(a.symbols, a.prefixes)).map(|a| a.name);
    let runtime = || RUNTIMES.iter().find(|r| known(r.symbols, r.prefixes)).map(|r| r.name);
    let sanitizer = || SANITIZERS.iter().find(|s| s.2 == name).map(|s| s.0);
    allocator.or_else(runtime).or_else(sanitizer)
}

/// The allocators whose messages stand in a program's read-only data.
pub fn in_text(data: &[u8]) -> BTreeSet<&'static str> {
    ALLOCATORS.iter().filter(|a| a.texts.iter().any(|text| contains(data, text))).map(|a| a.name).collect()
}

fn contains(data: &[u8], text: &[u8]) -> bool {
    let mut rest = data;
    while let Some(at) = rest.iter().position(|&b| b == text[0]) {
        rest = &rest[at..];
        if rest.starts_with(text) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_symbols_by_name_and_prefix() {
        assert_eq!(of_symbol("mallctl"), Some("jemalloc"));
        assert_eq!(of_symbol("_rjem_je_arena_new"), Some("jemalloc"));
        assert_eq!(of_symbol("_ZN8snmalloc5alloc"), Some("snmalloc"));
        assert_eq!(of_symbol("PyObject_Malloc"), Some(PYTHON));
        assert_eq!(of_symbol("__asan_init"), Some("AddressSanitizer"));
        assert_eq!(of_symbol("my_malloc"), None);
        assert_eq!(malloc_function("malloc@GLIBC_2.2.5"), Some("malloc"));
        assert_eq!(malloc_function("xmalloc"), None);
    }

    #[test]
    fn finds_texts_anywhere() {
        assert_eq!(in_text(b"..<<jemalloc>: Error in mallctl"), BTreeSet::from(["jemalloc"]));
        assert_eq!(in_text(b"mimalloc: x <jemalloc>: "), BTreeSet::from(["jemalloc", "mimalloc"]));
        assert!(in_text(b"<jemalloc>:").is_empty() && in_text(b"").is_empty());
    }
}
