//! Where tools of this kind stop to work, and what makes their reports useless: other libraries, address layouts, unloaded code, long names,
//! secrets, blocks that live for ever.

mod common;

use common::*;
use serde_json::Value;
use std::process::Command;

fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// A use after free.
const STALE: &str = r#"
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) char *alloc_site(void) { return malloc(24); }
__attribute__((noinline)) void free_site(char *block) { free(block); }
__attribute__((noinline)) void bug_site(volatile char *block) { *block = 1; }
int main(int argc, char **argv) {
    char *block = alloc_site();
    if (argc > 1 && read(0, block, 24) != 21) return 3;
    free_site(block);
    bug_site(block);
    return 0;
}
"#;

/// Defines what unwinders and other tools define, each of which ends the process if it is called.
const OTHER_LIBRARY: &str = r#"
#include <stdlib.h>
#define OWN(name) void name(void) { abort(); }
OWN(_Unwind_Backtrace) OWN(_Unwind_Find_FDE) OWN(_Unwind_GetIP) OWN(unw_step) OWN(_ULx86_64_step) OWN(unw_init_local)
OWN(_ULx86_64_init_local) OWN(backtrace) OWN(backtrace_symbols_fd)
"#;

#[test]
fn another_unwinder_and_other_preloaded_libraries_are_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "stale.c", STALE, &["-g", "-O1"]);
    let other = compile(folder.path(), "other.c", OTHER_LIBRARY, &["-shared", "-fPIC", "-w", "-fno-builtin"]);
    let (other, program) = (other.to_str().unwrap(), program.to_str().unwrap());
    let (output, report) = run_for_report(folder.path(), &["check"], &[program], |command| {
        command.env("LD_PRELOAD", other);
    });
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    assert_eq!(kinds(&report), ["use-after-free"]);
    assert_eq!(functions(&report["findings"][0]["stack"])[..2], ["bug_site", "main"]);
    // Whatever the order, without the command.
    let library = text(&succeed(heapkeeper().args(["lib"])).stdout);
    for order in [format!("{other}:{}", library.trim()), format!("{} {other}", library.trim())] {
        let mut plain = Command::new(program);
        plain.env("LD_PRELOAD", order).env("HEAPKEEPER", "guard=1/1");
        let said = text(&succeed(&mut plain).stderr);
        assert!(said.contains("use after free"), "{said}");
    }
}

/// Address space randomisation of other strengths, and none; the layout from the bottom up.
#[test]
fn any_layout_of_addresses_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "stale.c", STALE, &["-g", "-O1"]);
    let program = program.to_str().unwrap();
    let fixed = compile(folder.path(), "fixed.c", STALE, &["-g", "-O1", "-no-pie"]);
    for before in
        [&["setarch", "-R"][..], &["prlimit", "--stack=unlimited"], &["setarch", "-L"], &["setarch", "-X"]]
    {
        for program in [program, fixed.to_str().unwrap()] {
            let words: Vec<&str> = before.iter().copied().chain([program]).collect();
            let (output, report) = run_for_report(folder.path(), &["check"], &words, |_| {});
            assert_eq!(output.status.code(), Some(97), "{before:?}: {}", text(&output.stderr));
            assert_eq!(kinds(&report), ["use-after-free"], "{before:?}");
            let stack = &report["findings"][0]["stack"];
            assert_eq!(functions(stack)[..2], ["bug_site", "main"], "{before:?}");
        }
    }
}

const PLUGIN: &str = r#"
#include <stdlib.h>
char *plugin_allocates(void) { return malloc(40); }
void plugin_frees(char *block) { free(block); }
"#;

const HOST: &str = r#"
#include <dlfcn.h>
int main(int argc, char **argv) {
    void *plugin = dlopen(argv[1], RTLD_NOW);
    char *(*allocates)(void) = (char *(*)(void))dlsym(plugin, "plugin_allocates");
    void (*frees)(char *) = (void (*)(char *))dlsym(plugin, "plugin_frees");
    volatile char *block = allocates();
    frees((char *)block);
    dlclose(plugin);
    return *block;
}
"#;

#[test]
fn code_that_was_unloaded_keeps_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = compile(
        folder.path(),
        "plugin.c",
        PLUGIN,
        &["-g", "-O1", "-shared", "-fPIC", "-fno-optimize-sibling-calls"],
    );
    let host = compile(folder.path(), "host.c", HOST, &["-g", "-O1"]);
    let words = [host.to_str().unwrap(), plugin.to_str().unwrap()];
    let (output, report) = run_for_report(folder.path(), &["check"], &words, |_| {});
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    let finding = &report["findings"][0];
    assert_eq!(functions(&finding["life"]["allocated"]["stack"])[..2], ["plugin_allocates", "main"]);
    assert_eq!(functions(&finding["life"]["freed"]["stack"])[..2], ["plugin_frees", "main"]);
}

/// Stores 64 bytes past the end of a block by one instruction of AVX-512.
const WIDE: &str = r#"
#include <immintrin.h>
#include <stdlib.h>
int main(void) {
    if (!__builtin_cpu_supports("avx512f")) return 77;
    static char *volatile block;
    block = malloc(64);
    char *place = block + 32;
    _mm512_storeu_si512(place, _mm512_set1_epi8(1));
    __asm__ volatile("" : : "r"(place) : "memory");
    return 0;
}
"#;

#[test]
fn wide_instructions_are_told_by_their_width() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "wide.c", WIDE, &["-g", "-O1", "-mavx512f"]);
    if Command::new(&program).status().unwrap().code() == Some(77) {
        eprintln!("skipped: this processor has no AVX-512; run it on one that has");
        return;
    }
    let (output, report) = run_for_report(folder.path(), &["check"], &[program.to_str().unwrap()], |_| {});
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    assert_eq!(kinds(&report), ["overrun-write"]);
    assert_eq!(report["findings"][0]["access"]["bytes"], 64, "{}", text(&output.stderr));
}

/// A name of some 30,000 characters.
const LONG_NAME: &str = r#"
#include <cstdlib>
template <class A, class B> struct Pair {};
template <int N> struct Long { using type = Pair<typename Long<N - 1>::type, typename Long<N - 1>::type>; };
template <> struct Long<0> { using type = unsigned long long; };
template <class T> __attribute__((noinline)) void long_named(volatile char *block) { *block = 1; }
int main() {
    char *block = (char *)malloc(24);
    free(block);
    long_named<Long<10>::type>(block);
}
"#;

#[test]
fn names_without_end_are_borne_by_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "long.cpp", LONG_NAME, &["-g", "-O1"]);
    let verb = ["check", "--html", "out.html", "--sarif", "out.sarif", "--junit", "out.xml"];
    let (output, report) = run_for_report(folder.path(), &verb, &[program.to_str().unwrap()], |_| {});
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    let stack = functions(&report["findings"][0]["stack"]).join("\n");
    assert!(stack.contains("long_named<Pair<Pair<"), "{stack:.200}");
    for form in ["out.html", "out.sarif", "out.xml"] {
        assert!(std::fs::read_to_string(folder.path().join(form)).unwrap().contains("long_named"), "{form}");
    }
    let widest = text(&output.stderr).lines().map(str::len).max();
    assert!(widest < Some(3000), "a line of {widest:?} bytes");
}

#[test]
fn what_blocks_hold_is_in_no_recording_and_no_report() {
    const SECRET: &str = "correct-horse-battery";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "stale.c", STALE, &["-g", "-O1"]);
    let verb = ["check", "--html", "out.html", "--sarif", "out.sarif", "--record", "out.hkrec"];
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let words = [program.to_str().unwrap(), "read it"];
    let (output, report) = run_for_report(folder.path(), &verb, &words, |command| {
        command.stdin(std::fs::File::open(folder.path().join("secret")).unwrap());
    });
    assert_eq!(kinds(&report), ["use-after-free"]);
    let recording = std::fs::metadata(folder.path().join("out.hkrec")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&recording.permissions()) & 0o777, 0o600);
    for form in ["out.html", "out.sarif", "out.json", "out.hkrec"] {
        let bytes = std::fs::read(folder.path().join(form)).unwrap();
        let tells = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(!tells, "{form}");
    }
    assert!(!text(&output.stderr).contains(SECRET));
}

/// Fills whatever room a sample has with blocks that live on, and then uses one of many others after its free.
const LIVE_ON: &str = r#"
#include <stdlib.h>
static char *kept[200000];
int main(void) {
    for (int i = 0; i < 200000; i++) kept[i] = malloc(32);
    for (int i = 0; i < 200000; i++) {
        volatile char *block = malloc(48);
        free((char *)block);
        *block = 1;
    }
    return 0;
}
"#;

#[test]
fn blocks_that_live_for_ever_leave_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "live.c", LIVE_ON, &["-g", "-O1", "-w"]);
    let (output, report) = run_for_report(folder.path(), &["run"], &[program.to_str().unwrap()], |_| {});
    assert_eq!(kinds(&report), ["use-after-free"], "{}", text(&output.stderr));
}

/// Two bugs under forty calls, compiled without frame pointers.
const DEEP: &str = r#"
#include <stdlib.h>
__attribute__((noinline)) char *below(int depth, char *block, int what) {
    volatile int here = depth;
    char *result = depth ? below(depth - 1, block, what) : what == 0 ? malloc(24) : (free(block), NULL);
    return here >= 0 ? result : NULL;
}
int main(void) {
    for (int i = 0; i < 2; i++) {
        char *block = below(40, NULL, 0);
        below(40, block, 1);
        if (i == 0) *(volatile char *)block = 1;
        else free(block);
    }
    return 0;
}
"#;

#[test]
fn stacks_are_whole_and_the_second_bug_is_told_as_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-g", "-O1", "-fomit-frame-pointer", "-w"];
    let program = compile(folder.path(), "deep.c", DEEP, &flags);
    let (output, report) = run_for_report(folder.path(), &["check"], &[program.to_str().unwrap()], |_| {});
    assert_eq!(kinds(&report), ["use-after-free", "double-free"], "{}", text(&output.stderr));
    for finding in report["findings"].as_array().unwrap() {
        for event in ["allocated", "freed"] {
            let stack = functions(&finding["life"][event]["stack"]);
            assert_eq!(stack.iter().filter(|&&name| name == "below").count(), 41, "{event}: {stack:?}");
            assert!(stack.contains(&"main"), "{event}: {stack:?}");
        }
    }
}
