//! `heapkeeper doctor` on programs made for it: each has one property, and the line that tells of it is checked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLAIN: &str = "#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }\n";

/// A folder for the programs of one test.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Bench(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compiles `source` with the system's compiler; the compiler that links Rust programs is there.
    fn build(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let (file, program) = (self.path(&format!("{name}.c")), self.path(name));
        fs::write(&file, source).unwrap();
        let output = Command::new("cc").arg("-o").arg(&program).arg(&file).args(flags).output().expect("cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    fn script(&self, name: &str, line: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("{line}\nexit 0\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

/// What doctor printed, with each fact and what follows from it on one line, and its exit status.
struct Answer {
    lines: Vec<String>,
    status: i32,
}

impl Answer {
    /// The line with this level whose fact or consequence holds `text`.
    #[track_caller]
    fn has(&self, level: &str, text: &str) -> &Self {
        let found = self.lines.iter().any(|line| line.starts_with(level) && line.contains(text));
        assert!(found, "no {level} line with {text:?} in:\n{}", self.lines.join("\n"));
        self
    }

    #[track_caller]
    fn has_not(&self, text: &str) -> &Self {
        let found = self.lines.iter().find(|line| line.contains(text));
        assert!(found.is_none(), "{text:?} in {found:?}");
        self
    }

    #[track_caller]
    fn verdict(&self, verdict: &str, status: i32) {
        self.has("verdict", verdict);
        assert_eq!(self.status, status);
    }
}

fn doctor(program: &Path) -> Answer {
    doctor_with(program, |_| {})
}

fn doctor_with(program: &Path, change: impl Fn(&mut Command)) -> Answer {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapkeeper"));
    command.args(["doctor", "--"]).arg(program);
    command.env_remove("LD_PRELOAD").env_remove("LD_LIBRARY_PATH").env_remove("DEBUGINFOD_URLS");
    command.env("XDG_CACHE_HOME", cache.path());
    change(&mut command);
    let output = command.output().expect("heapkeeper");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        assert!(!line.contains('\x1b'), "colour where no terminal is: {line:?}");
        match (line.starts_with("         "), lines.last_mut()) {
            (true, Some(last)) => *last = format!("{last} {}", line.trim()),
            _ => lines.push(line.to_owned()),
        }
    }
    Answer { lines, status: output.status.code().expect("doctor ends by itself") }
}

#[test]
fn a_dynamic_program_with_debug_info_is_covered() {
    let bench = Bench::new();
    let answer = doctor(&bench.build("plain", PLAIN, &["-g"]));
    answer
        .has("ok", "dynamically linked (loader /lib")
        .has("ok", "no allocator of its own is linked in")
        .has("ok", "debug info in the program")
        .has_not("problem");
    assert_eq!(answer.status, 0);
}

#[test]
fn missing_debug_info_is_a_limit_and_the_build_id_is_named() {
    let bench = Bench::new();
    let answer = doctor(&bench.build("stripped", PLAIN, &["-s", "-Wl,--build-id=0xabcdef0123"]));
    answer
        .has("warning", "no debug info for the program")
        .has("warning", "build id abcdef0123")
        .has("warning", "exported functions at most")
        .verdict("works with limits: no debug info for the program", 0);
    let answer = doctor_with(&bench.path("stripped"), |command| {
        command.env("DEBUGINFOD_URLS", "https://debug.invalid");
    });
    answer.has("warning", "debuginfod-find debuginfo abcdef0123");
}

#[test]
fn debug_info_that_was_split_off_is_found() {
    let bench = Bench::new();
    let program = bench.build("split", PLAIN, &["-g"]);
    let debug = bench.path("split.debug");
    let objcopy = |args: &[&std::ffi::OsStr]| {
        let status = Command::new("objcopy").args(args).status().expect("objcopy");
        assert!(status.success());
    };
    objcopy(&["--only-keep-debug".as_ref(), program.as_os_str(), debug.as_os_str()]);
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    objcopy(&["--strip-all".as_ref(), &link, program.as_os_str()]);
    doctor(&program).has("ok", "split.debug");
    fs::remove_file(&debug).unwrap();
    doctor(&program).has("warning", "no debug info for the program");
}

#[test]
fn a_static_program_is_not_covered() {
    let bench = Bench::new();
    for (name, flag) in [("static", "-static"), ("static-pie", "-static-pie")] {
        let answer = doctor(&bench.build(name, PLAIN, &[flag, "-g"]));
        answer.has("problem", "statically linked").verdict("will not be covered: 64-bit", 1);
    }
}

#[test]
fn a_program_for_another_machine_is_not_covered() {
    let bench = Bench::new();
    let program = bench.build("other", PLAIN, &[]);
    let mut data = fs::read(&program).unwrap();
    data[4] = 1;
    data[18..20].copy_from_slice(&3u16.to_le_bytes());
    fs::write(&program, &data).unwrap();
    doctor(&program).has("problem", "32-bit program for i386").verdict("will not be covered", 1);
    data[4] = 2;
    data[18..20].copy_from_slice(&243u16.to_le_bytes());
    fs::write(&program, &data).unwrap();
    doctor(&program).has("problem", "64-bit program for RISC-V").verdict("will not be covered", 1);
}

#[test]
fn a_musl_program_is_not_covered() {
    let bench = Bench::new();
    let program = bench.build("musl", PLAIN, &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    doctor(&program)
        .has("problem", "for musl (loader /lib/ld-musl-x86_64.so.1)")
        .verdict("will not be covered", 1);
}

#[test]
fn a_program_that_gains_rights_is_not_covered() {
    let bench = Bench::new();
    let program = bench.build("setuid", PLAIN, &["-g"]);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    doctor(&program).has("note", "started by you it gains nothing");
    const NOBODY: u32 = 65534;
    if std::os::unix::fs::chown(&program, Some(NOBODY), None).is_err() {
        eprintln!("skipped: only root can give a file to another user");
        return;
    }
    // A change of the owner takes the setuid bit away.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    doctor(&program)
        .has("problem", "setuid (user 65534)")
        .verdict("will not be covered: the file is setuid", 1);
}

#[test]
fn a_program_with_its_own_malloc_is_not_covered() {
    let own = "#include <stddef.h>\nstatic char pool[4096]; static size_t used;\n\
               void *malloc(size_t n) { void *p = pool + used; used += (n + 15) & ~(size_t)15; return p; }\n\
               void free(void *p) { (void)p; }\nint mallctl(void) { return 0; }\nint main(void) { free(malloc(1)); }\n";
    let bench = Bench::new();
    doctor(&bench.build("own", own, &["-g", "-fno-builtin"]))
        .has("problem", "the program defines malloc, free (of jemalloc) itself")
        .verdict("will not be covered", 1);
}

#[test]
fn an_allocator_under_its_own_names_is_a_limit_also_without_symbols() {
    let own = "#include <stdlib.h>\n#include <stdio.h>\n\
               void *mi_malloc(size_t n) { printf(\"mimalloc: %zu\", n); return 0; }\n\
               int main(void) { mi_malloc(1); free(malloc(1)); }\n";
    let bench = Bench::new();
    let program = bench.build("named", own, &["-g"]);
    doctor(&program).has("warning", "mimalloc is linked in").verdict("works with limits: mimalloc", 0);
    let stripped = bench.build("hidden", own, &["-s"]);
    doctor(&stripped).has("warning", "texts of mimalloc stand in the program");
}

#[test]
fn an_allocator_library_takes_nothing_away_but_must_be_found() {
    let bench = Bench::new();
    bench.build(
        "libjemalloc-of-the-test.so.2",
        "int mallctl(void) { return 0; }\n",
        &["-shared", "-fPIC", "-g"],
    );
    let folder = format!("-L{}", bench.0.path().display());
    let source =
        "#include <stdlib.h>\nint mallctl(void);\nint main(void) { free(malloc(1)); return mallctl(); }\n";
    let program = bench.build(
        "user",
        source,
        &["-g", &folder, "-l:libjemalloc-of-the-test.so.2", "-Wl,-rpath,$ORIGIN"],
    );
    let answer = doctor(&program);
    answer.has("note", "linked with jemalloc as a library (libjemalloc-of-the-test.so.2)").has_not("problem");
    let lost = bench.build("lost", source, &["-g", &folder, "-l:libjemalloc-of-the-test.so.2"]);
    doctor(&lost)
        .has("problem", "the library libjemalloc-of-the-test.so.2 is not found")
        .verdict("will not be covered", 1);
    let found = doctor_with(&lost, |command| {
        command.env("LD_LIBRARY_PATH", bench.0.path());
    });
    found.has("note", "linked with jemalloc as a library").has_not("problem");
}

#[test]
fn scripts_lead_to_their_interpreter() {
    let bench = Bench::new();
    let program = bench.build("interpreter", PLAIN, &["-static"]);
    let direct = bench.script("direct", &format!("#!{} -x", program.display()));
    let answer = doctor(&direct);
    answer.has("note", "direct is a script, run by").has("problem", "statically linked");
    let through_env = bench.script("through-env", "#!/usr/bin/env -S A=1 interpreter --option");
    let answer = doctor_with(&through_env, |command| {
        command.env("PATH", format!("{}:/usr/bin:/bin", bench.0.path().display()));
    });
    answer.has("ok", "interpreter").has("problem", "statically linked");
    let nowhere = bench.script("nowhere", "#!/does/not/exist");
    doctor(&nowhere).has("problem", "nowhere needs /does/not/exist").verdict("will not be covered", 1);
    let round = bench.path("round");
    let round = bench.script("round", &format!("#!{}", round.display()));
    doctor(&round).has("problem", "interpreters of interpreters");
}

#[test]
fn what_is_no_program_is_named() {
    let bench = Bench::new();
    doctor(Path::new("no-such-command-here"))
        .has("problem", "is in no directory of PATH")
        .verdict("will not be", 1);
    doctor(&bench.path("gone")).has("problem", "does not exist");
    let text = bench.path("text");
    fs::write(&text, "hello").unwrap();
    doctor(&text).has("problem", "is not an executable file");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
    doctor(&text).has("note", "is a script, run by /bin/sh").verdict("works", 0);
    let script = bench.path("script");
    fs::write(&script, format!("#!{}\n", text.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    doctor(&script).has("problem", "neither an ELF program nor a script");
    doctor(Path::new("")).has("problem", "the program's name is empty").verdict("will not be", 1);
    fs::write(&text, b"\x7fELF\x02\x01\x01 and then nothing that belongs there").unwrap();
    let answer = doctor(&text);
    assert_eq!(answer.status, 1);
}

#[test]
fn limits_of_the_shell_are_seen() {
    let bench = Bench::new();
    let program = bench.build("plain", PLAIN, &["-g"]);
    let shell = format!(
        "ulimit -v 4194304; exec {} doctor -- {}",
        env!("CARGO_BIN_EXE_heapkeeper"),
        program.display()
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("warning  the address space is limited to 4 GiB (RLIMIT_AS)"), "{text}");
    assert!(text.contains("verdict  works with limits"), "{text}");
}

#[test]
fn other_preloaded_libraries_are_named() {
    let bench = Bench::new();
    let program = bench.build("plain", PLAIN, &["-g"]);
    let other = bench.build("other.so", "#include <stddef.h>\nint other;\n", &["-shared", "-fPIC"]);
    let answer = doctor_with(&program, |command| {
        command.env("LD_PRELOAD", &other);
    });
    answer.has("note", "other.so is preloaded too (LD_PRELOAD)");
}

#[test]
fn the_library_has_to_be_unpacked() {
    let bench = Bench::new();
    let program = bench.build("plain", PLAIN, &["-g"]);
    doctor(&program).has("ok", "heapkeeper's library is").has_not("problem");
    let blocked = bench.path("blocked");
    fs::write(&blocked, "a file where the folder should be").unwrap();
    let answer = doctor_with(&program, |command| {
        command.env("XDG_CACHE_HOME", &blocked);
    });
    answer.has("problem", "cannot unpack the library").verdict("will not be covered", 1);
}
