//! What the preload library may import from libc, and what it must export. Necessary, not sufficient: a
//! function of libc that allocated would come back into the heap that calls it.

use crate::outcome::Verdict;

/// The malloc family: exported, never imported.
const FAMILY: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "malloc_trim",
    "mallinfo",
    "mallinfo2",
    "mallopt",
    "malloc_stats",
    "malloc_info",
    "cfree",
];

/// Functions of libc that are known not to allocate, with why each is needed.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "memory and strings; the compiler calls them",
        &[
            "memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen", "strcmp", "strncmp", "memchr",
            "strchr", "memrchr",
        ],
    ),
    (
        "errno and system calls",
        &[
            "__errno_location",
            "syscall",
            "mmap",
            "mmap64",
            "munmap",
            "mprotect",
            "madvise",
            "mremap",
            "open",
            "open64",
            "close",
            "read",
            "pread",
            "pread64",
            "write",
            "fstat",
            "fstat64",
            "getpid",
            "getppid",
            "gettid",
            "getauxval",
            "clock_gettime",
            "sysconf",
            "prlimit",
            "prlimit64",
            "getrlimit",
            "getrlimit64",
            "sched_yield",
            "process_vm_readv",
            "readlink",
            "access",
            "prctl",
            "_exit",
            "kill",
            "tgkill",
            "raise",
            "ftruncate",
            "ftruncate64",
            "sysinfo",
        ],
    ),
    (
        "signals around a report",
        &[
            "sigaction",
            "sigprocmask",
            "pthread_sigmask",
            "sigemptyset",
            "sigfillset",
            "sigaddset",
            "sigdelset",
            "abort",
        ],
    ),
    (
        "threads and fork",
        &[
            "pthread_self",
            "pthread_key_create",
            "pthread_setspecific",
            "pthread_getspecific",
            "pthread_atfork",
            "__register_atfork",
            "__cxa_thread_atexit_impl",
            "__cxa_atexit",
            "pthread_mutex_lock",
            "pthread_mutex_unlock",
        ],
    ),
    (
        "what the loader knows: modules by address, without its lock; glibc's own heap",
        &[
            "_dl_find_object",
            "dl_iterate_phdr",
            "dladdr",
            "dladdr1",
            "dlsym",
            "dlvsym",
            "__tls_get_addr",
            "environ",
            "__environ",
            "__libc_free",
            "__libc_malloc",
            "__libc_realloc",
            "__libc_memalign",
            "__libc_calloc",
            "program_invocation_name",
        ],
    ),
    // stdio may allocate its stream's buffer: these are called with no lock of the heap held.
    ("what malloc_info and malloc_stats print on the program's own streams", &["fprintf", "stderr"]),
    (
        "weak symbols of the loader and the compiler",
        &[
            "__cxa_finalize",
            "__gmon_start__",
            "_ITM_deregisterTMCloneTable",
            "_ITM_registerTMCloneTable",
            "__stack_chk_fail",
        ],
    ),
];

/// Every import is allowed.
pub fn check_imports(nm: &str) -> Verdict {
    let wrong: Vec<String> = names(nm).filter_map(|name| refused(&name)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// The whole family is exported.
pub fn check_exports(nm: &str) -> Verdict {
    let exported: Vec<String> = names(nm).collect();
    let missing: Vec<&str> =
        FAMILY.iter().filter(|name| !exported.iter().any(|e| e == *name)).copied().collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not exported: {}", missing.join(", "))) }
}

fn refused(name: &str) -> Option<String> {
    if FAMILY.contains(&name) || name.starts_with("_Zn") || name.starts_with("_Zd") {
        return Some(format!("{name}: the library would call the heap that it is"));
    }
    let allowed = ALLOWED.iter().any(|(_, names)| names.contains(&name));
    (!allowed).then(|| format!("{name}: not on the list of functions known not to allocate"))
}

/// The symbols' names in nm's output, without versions.
fn names(nm: &str) -> impl Iterator<Item = String> {
    nm.lines().filter_map(|line| {
        let name = line.split_whitespace().last()?;
        Some(name.split('@').next().unwrap_or(name).to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_is_refused() {
        assert!(
            check_imports(
                "                 U memcpy@GLIBC_2.14\n                 w __cxa_finalize@GLIBC_2.2.5\n"
            )
            .is_ok()
        );
        assert!(check_imports("                 U malloc@GLIBC_2.2.5\n").is_err());
        assert!(check_imports("                 U _ZdlPv@GLIBCXX_3.4\n").is_err());
        assert!(check_imports("                 U getaddrinfo@GLIBC_2.2.5\n").is_err());
    }

    #[test]
    fn a_missing_member_of_the_family_is_named() {
        let all: String = FAMILY.iter().map(|name| format!("0000000000001000 T {name}\n")).collect();
        assert!(check_exports(&all).is_ok());
        assert!(check_exports(&all.replace(" T pvalloc", " T other")).unwrap_err().contains("pvalloc"));
    }
}
