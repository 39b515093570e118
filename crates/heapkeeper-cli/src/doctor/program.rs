//! The program itself: whether the library gets into it, and whether its blocks then come from us.

use super::diagnosis::{Level, Line};
use super::elf::{Elf, Ident};
use super::libraries::Library;
use super::privileges;
use super::signs::{self, ALLOCATORS, MALLOC_FUNCTIONS, NEW_FUNCTIONS, PYTHON, RUNTIMES, SANITIZERS};
use super::target::Target;
use std::path::Path;

/// A line if the command is a script: what was looked at instead.
pub fn script_line(target: &Target) -> Option<Line> {
    let script = target.scripts.first()?;
    Some(Line::new(
        Level::Note,
        format!("{} is a script, run by {}", script.display(), target.path.display()),
        "the interpreter is what was looked at; programs that the script starts inherit the heap where they can",
    ))
}

/// A line about a file that is not for our machine; nothing more can be read from it.
pub fn other_machine_line(ident: Ident) -> Line {
    Line::new(
        Level::Problem,
        format!("{}-bit program for {}", ident.bits, ident.machine_name()),
        "the library is a 64-bit one for this machine: the loader leaves it out with a message, and the program runs on \
         the system's malloc; build it for this machine",
    )
}

/// What the ELF headers say of how it is linked, and whom it may run as.
pub fn linkage_lines(path: &Path, elf: &Elf) -> Vec<Line> {
    let machine = Ident { bits: 64, machine: super::elf::OUR_MACHINE }.machine_name();
    let mut lines = vec![match elf.interpreter.as_deref() {
        None => Line::new(
            Level::Problem,
            format!("64-bit {machine} program, statically linked (it asks for no loader)"),
            "nothing can be loaded into it; link it dynamically (cc without -static, Rust with a …-linux-gnu target and \
             without crt-static), or, if it is Rust, make heapkeeper its global allocator",
        ),
        Some(loader) if loader.contains("ld-musl") => Line::new(
            Level::Problem,
            format!("64-bit {machine} program for musl (loader {loader})"),
            "the library is made for glibc and cannot be loaded by musl; build the program for a …-linux-gnu target",
        ),
        Some(loader) if loader.contains("ld-linux") => Line::new(
            Level::Ok,
            format!("64-bit {machine} program, dynamically linked (loader {loader})"),
            "LD_PRELOAD reaches it: the library is loaded before all others",
        ),
        Some(loader) => Line::new(
            Level::Warning,
            format!("64-bit {machine} program with the unusual loader {loader}"),
            "it is covered if that loader is glibc's and honours LD_PRELOAD",
        ),
    }];
    lines.extend(privileges::line(path));
    if elf.is_go {
        lines.push(Line::new(
            Level::Warning,
            "made by the Go toolchain",
            "Go's objects lie in its own collected heap, which is not looked at; only C code that it calls is covered",
        ));
    }
    lines
}

/// Libraries that are missing, which the loader would stop at.
pub fn missing_library_lines(libraries: &[Library]) -> Vec<Line> {
    let missing = libraries.iter().filter(|library| library.path.is_none() && !is_loader(&library.name));
    let line = |library: &Library| {
        Line::new(
            Level::Problem,
            format!("the library {} is not found", library.name),
            "the loader will not start the program; install it, or name its folder in LD_LIBRARY_PATH",
        )
    };
    missing.map(line).collect()
}

/// What else serves memory in it: allocators, sanitizers, runtimes.
pub fn allocator_lines(elf: &Elf, libraries: &[Library]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    lines.extend(sanitizer_line(elf, libraries));
    lines.extend(own_malloc_line(elf));
    lines.extend(carried_lines(elf, libraries));
    lines.extend(own_new_line(elf));
    if lines.is_empty() && !is_static(elf) {
        lines.push(plain_line(elf));
    }
    lines.extend(runtime_lines(elf, libraries));
    lines
}

fn sanitizer_line(elf: &Elf, libraries: &[Library]) -> Option<Line> {
    let built_with =
        |(name, library, _): &&(&str, &str, &str)| elf.defines(name) || has_library(libraries, library);
    let (name, ..) = SANITIZERS.iter().find(built_with)?;
    Some(Line::new(
        Level::Problem,
        format!("built with {name}"),
        "its runtime has a malloc of its own and wants to be loaded first: the program stops at its start, or stays \
         uncovered; build it without -fsanitize",
    ))
}

/// A static program has libc's malloc in it, which is no news beside that it is static.
fn is_static(elf: &Elf) -> bool {
    elf.interpreter.is_none() && elf.defines("malloc")
}

/// The program's own malloc goes before a preloaded one.
fn own_malloc_line(elf: &Elf) -> Option<Line> {
    let own: Vec<&str> = MALLOC_FUNCTIONS.iter().copied().filter(|f| elf.defines(f)).collect();
    // A function alone (as a test's own `free`) does not make an allocator, but malloc does.
    if !own.contains(&"malloc") {
        return None;
    }
    let carried = ALLOCATORS.iter().find(|a| elf.defines(a.name) || elf.hinted.contains(a.name));
    if carried.is_none() && is_static(elf) {
        return None;
    }
    let whose = carried.map_or_else(String::new, |a| format!(" (of {})", a.name));
    let seen_by = match elf.exported.contains("malloc") {
        true => "the program's and its libraries' calls",
        false => "the program's calls",
    };
    Some(Line::new(
        Level::Problem,
        format!("the program defines {}{whose} itself", own.join(", ")),
        format!(
            "{seen_by} go there, as a program's own functions come before preloaded ones; link it without that allocator"
        ),
    ))
}

/// Allocators under names of their own, in the program or as libraries.
fn carried_lines(elf: &Elf, libraries: &[Library]) -> Vec<Line> {
    let mut lines = Vec::new();
    let own_malloc = elf.defines("malloc");
    for allocator in ALLOCATORS {
        let name = allocator.name;
        if let Some(library) = libraries.iter().find(|library| library.name.starts_with(allocator.library)) {
            lines.push(Line::new(
                Level::Note,
                format!("linked with {name} as a library ({})", library.name),
                format!(
                    "malloc and free go to heapkeeper, which is loaded before it; calls of {name}'s own functions stay \
                     with it, and its blocks go back to it"
                ),
            ));
        } else if elf.defines(name) && !own_malloc {
            lines.push(Line::new(
                Level::Warning,
                format!("{name} is linked in, under names of its own"),
                format!("what the program allocates through {name} is not covered; what calls malloc is"),
            ));
        } else if let Some(library) = libraries.iter().find(|library| library.elf.defines(name)) {
            lines.push(Line::new(
                Level::Note,
                format!("{} carries {name}", library.name),
                format!("what that library allocates through {name} is not covered; all else is"),
            ));
        } else if elf.hinted.contains(name) && !own_malloc && !elf.has_symbols {
            lines.push(Line::new(
                Level::Warning,
                format!("texts of {name} stand in the program, and its symbols are stripped: it may be linked in"),
                format!("what is allocated through {name} would not be covered; the summary of a run shows what was"),
            ));
        }
    }
    lines
}

fn own_new_line(elf: &Elf) -> Option<Line> {
    // With a malloc of its own, that is already said.
    let own = NEW_FUNCTIONS.iter().any(|function| elf.defines(function)) && !elf.defines("malloc");
    own.then(|| {
        Line::new(
            Level::Note,
            "the program defines operator new or operator delete itself",
            "what they take from malloc is covered; a pool behind them counts as one block",
        )
    })
}

fn plain_line(elf: &Elf) -> Line {
    match elf.imported.is_empty() {
        false => Line::new(
            Level::Ok,
            "no allocator of its own is linked in",
            "every block will come from heapkeeper",
        ),
        true => Line::new(
            Level::Note,
            "the program itself calls neither malloc nor operator new",
            "blocks that its libraries allocate will come from heapkeeper",
        ),
    }
}

fn runtime_lines(elf: &Elf, libraries: &[Library]) -> Vec<Line> {
    let present = RUNTIMES.iter().filter(|r| elf.defines(r.name) || has_library(libraries, r.library));
    let line = |runtime: &signs::Runtime| {
        if runtime.name == PYTHON && std::env::var_os("PYTHONMALLOC").is_some_and(|value| value == "malloc") {
            return Line::new(
                Level::Ok,
                "holds Python, and PYTHONMALLOC=malloc is set",
                "all its objects are covered",
            );
        }
        Line::new(Level::Note, format!("holds {}", runtime.name), runtime.follows)
    };
    present.map(line).collect()
}

fn has_library(libraries: &[Library], prefix: &str) -> bool {
    libraries.iter().any(|library| library.name.starts_with(prefix))
}

/// The loader stands among the needed libraries of libc; it is there already.
fn is_loader(name: &str) -> bool {
    name.starts_with("ld-linux")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn levels(lines: &[Line]) -> Vec<(Level, &str)> {
        lines.iter().map(|line| (line.level, line.fact.as_str())).collect()
    }

    fn library(name: &str, elf: Elf) -> Library {
        Library { name: name.into(), path: None, elf, direct: true }
    }

    #[test]
    fn its_own_malloc_is_a_problem_and_named_once() {
        let defined = BTreeSet::from(["malloc", "free", "jemalloc"]);
        let elf = Elf { defined, exported: BTreeSet::from(["malloc", "free"]), ..Elf::default() };
        let lines = allocator_lines(&elf, &[]);
        assert_eq!(
            levels(&lines),
            [(Level::Problem, "the program defines malloc, free (of jemalloc) itself")]
        );
        assert!(lines[0].follows.starts_with("the program's and its libraries' calls"));
    }

    #[test]
    fn an_allocator_under_its_own_names_is_a_limit() {
        let elf = Elf { defined: BTreeSet::from(["mimalloc"]), ..Elf::default() };
        assert_eq!(
            levels(&allocator_lines(&elf, &[])),
            [(Level::Warning, "mimalloc is linked in, under names of its own")]
        );
    }

    #[test]
    fn an_allocator_that_is_a_library_takes_nothing_away() {
        let elf = Elf { imported: BTreeSet::from(["malloc"]), ..Elf::default() };
        let jemalloc = Elf { defined: BTreeSet::from(["malloc", "jemalloc"]), ..Elf::default() };
        let lines = allocator_lines(&elf, &[library("libjemalloc.so.2", jemalloc)]);
        assert_eq!(levels(&lines), [(Level::Note, "linked with jemalloc as a library (libjemalloc.so.2)")]);
    }

    #[test]
    fn strings_count_only_where_symbols_are_stripped() {
        let mut elf = Elf { hinted: BTreeSet::from(["jemalloc"]), has_symbols: true, ..Elf::default() };
        elf.imported.insert("malloc");
        assert_eq!(allocator_lines(&elf, &[])[0].level, Level::Ok);
        elf.has_symbols = false;
        assert_eq!(allocator_lines(&elf, &[])[0].level, Level::Warning);
    }
}
