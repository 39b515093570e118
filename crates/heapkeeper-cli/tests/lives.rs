//! Guarded blocks on the real library: bad accesses with the lives of their blocks, and reports made of them later.

mod common;

use common::*;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Frees a name too early, or writes beside it, as the letters of its first argument say.
const LEAKY: &str = r#"
#include <stdlib.h>
#include <string.h>
struct session { char *name; };
static struct session *head;
__attribute__((noinline)) void session_open(void) {
    head = malloc(sizeof *head);
    head->name = malloc(42);
    memset(head->name, 1, 42);
}
__attribute__((noinline)) void cache_evict(void) { free(head->name); }
__attribute__((noinline)) int session_report(void) { return head->name[8]; }
__attribute__((noinline)) void session_rename(int at) { head->name[at] = 'x'; }
int main(int argc, char **argv) {
    session_open();
    if (strchr(argv[1], 'e')) cache_evict();
    int sum = strchr(argv[1], 'r') ? session_report() : 0;
    if (strchr(argv[1], 's')) session_rename(43);
    if (strchr(argv[1], 'o')) session_rename(60);
    if (strchr(argv[1], 'u')) session_rename(-5);
    return sum == -1 ? 9 : 4;
}
"#;

struct Leaky {
    folder: tempfile::TempDir,
    program: PathBuf,
}

fn leaky() -> Leaky {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "leaky.c", LEAKY, &["-g", "-O1", "-w"]);
    Leaky { folder, program }
}

impl Leaky {
    fn heapkeeper(&self, args: &[&str]) -> Output {
        let mut command = heapkeeper();
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command.env_remove("DEBUGINFOD_URLS").args(args).output().unwrap()
    }

    /// `heapkeeper check OPTIONS -- leaky WHICH`: the exit status, and what was said.
    fn check(&self, options: &[&str], which: &str) -> (Option<i32>, String) {
        let program = self.program.to_str().unwrap();
        let output = self.heapkeeper(&[&["check"], options, &["--", program, which]].concat());
        (output.status.code(), text(&output.stderr))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.folder.path().join(name)).unwrap()).unwrap()
    }
}

#[test]
fn a_use_after_free_is_named_by_its_three_places() {
    let leaky = leaky();
    let (code, said) = leaky.check(&[], "er");
    assert_eq!(code, Some(97), "{said}");
    let line = |part: &str| {
        said.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {said}"))
    };
    let sentence =
        "session_report() reads 1 byte, 8 bytes into a 42-byte block that cache_evict() had freed ";
    assert!(line("use after free (CWE-416)").contains(sentence), "{said}");
    assert!(line("likely culprit: ").contains("cache_evict  leaky.c:11  (confidence "), "{said}");
    assert!(line("  allocated  ").contains("session_open leaky.c:8 ← main leaky.c:15"), "{said}");
    assert!(line("  freed  ").contains("cache_evict leaky.c:11 ← main leaky.c:16"), "{said}");
    assert!(line("  READ  ").contains("session_report leaky.c:12 ← main leaky.c:17"), "{said}");
    assert!(said.contains("  | head->name = malloc(42);\n"), "{said}");
    assert!(said.contains("(every one)\n"), "{said}");
    assert_eq!(leaky.check(&[], "-").0, Some(4));
}

#[test]
fn each_side_sees_its_own_and_both_see_both() {
    let leaky = leaky();
    let kinds = |side: &str| {
        let (code, said) = leaky.check(&["--side", side, "--json", "r.json"], "ou");
        assert_eq!(code, Some(97), "{said}");
        let findings = leaky.json("r.json")["findings"].as_array().unwrap().clone();
        let trapped = findings.iter().filter(|finding| finding["evidence"] == "trap");
        let mut kinds: Vec<String> = trapped.map(|f| f["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds("end"), ["overrun-write"]);
    assert_eq!(kinds("start"), ["underrun-write"]);
    assert_eq!(kinds("both"), ["overrun-write", "underrun-write"]);
}

/// Bytes beside a block that its alignment leaves unused trap at neither side.
#[test]
fn damage_that_both_runs_find_at_their_ends_is_one_bug() {
    let leaky = leaky();
    let (code, said) = leaky.check(&["--side", "both", "--json", "r.json"], "s");
    assert_eq!(code, Some(97), "{said}");
    let report = leaky.json("r.json");
    assert_eq!(
        (&report["summary"]["findings"], &report["findings"][0]["repeats"]),
        (&1.into(), &2.into()),
        "{said}"
    );
    assert_eq!(
        (&report["findings"][0]["evidence"], &report["findings"][0]["call"]),
        (&"canary".into(), &"exit".into())
    );
    assert!(said.contains("1 byte was overwritten 1 byte past the end of a 42-byte block"), "{said}");
}

#[test]
fn blocks_of_a_site_are_guarded_and_others_not() {
    let leaky = leaky();
    for (site, found) in [("site:session_open", true), ("site:leaky.c:8", true), ("site:leaky.c:7", false)] {
        let (code, said) = leaky.check(&["--guard", site], "er");
        assert_eq!(code, Some(if found { 97 } else { 4 }), "{site}: {said}");
        assert!(said.contains(" guarded by ") && said.contains("(those of certain sites)"), "{said}");
    }
    let (code, said) = leaky.check(&["--guard", "site:cache_evict"], "er");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("note: no block was allocated below cache_evict, so none was guarded\n"), "{said}");
    let (code, said) = leaky.check(&["--guard", "off"], "er");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("; no block is guarded\n") && !said.contains("guarded by"), "{said}");
}

#[test]
fn a_stack_of_the_blocks_life_can_be_suppressed() {
    let leaky = leaky();
    for (entry, suppressed) in [
        ("in: freed\nframe: cache_*", true),
        ("in: allocated\nframe: ...\nframe: file:leaky.c:15", true),
        ("in: misuse\nframe: cache_*", false),
        ("kind: double-free\nframe: session_report", false),
        ("kind: use-after-free\nframe: session_report\nframe: main", true),
    ] {
        std::fs::write(leaky.folder.path().join("s.txt"), format!("[x]\n{entry}\n")).unwrap();
        let (code, said) = leaky.check(&["--suppressions", "s.txt"], "er");
        assert_eq!(code, Some(if suppressed { 4 } else { 97 }), "{entry}: {said}");
    }
}

#[test]
fn a_recording_gives_every_form_later() {
    let leaky = leaky();
    let (_, said) = leaky.check(&["--record", "kept", "--json", "first.json"], "ero");
    let report = |args: &[&str]| {
        let output = leaky.heapkeeper(&[&["report", "kept"], args].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let id = leaky.json("first.json")["findings"][0]["id"].as_str().unwrap().to_owned();
    assert!(
        said.contains(&format!("NEXT  heapkeeper report {}/kept --id {id}\n", leaky.folder.path().display()))
    );

    let (code, told, _) = report(&["--id", &id]);
    assert_eq!(code, Some(0));
    assert_eq!(told.matches("(CWE-").count(), 1, "{told}");
    for part in ["instruction  ", "= leaky+0x", "pages 0x", "#0 cache_evict  leaky.c:11  0x"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let readelf = text(&succeed(Command::new("readelf").arg("-n").arg(&leaky.program)).stdout);
    let build = readelf.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    assert!(told.contains(&format!("leaky  {build}\n")), "{told}");
    let (code, _, said) = report(&["--id", "HK-UAF-0"]);
    assert_eq!(code, Some(125));
    assert!(
        said.contains(&format!(
            "--id HK-UAF-0: no finding of the recording has this id; there is {id}, HK-UAF-"
        )),
        "{said}"
    );

    let forms =
        ["--json", "a.json", "--sarif", "a.sarif", "--junit", "a.xml", "--html", "a.html", "--github"];
    let (code, told, _) = report(&forms);
    assert_eq!(code, Some(0));
    assert!(told.lines().all(|line| line.starts_with("::error ")) && told.lines().count() == 2, "{told}");
    assert_eq!(leaky.json("a.json")["findings"], leaky.json("first.json")["findings"]);
    assert_eq!(leaky.json("a.sarif")["version"], "2.1.0");
    let (_, told, _) = report(&["--sarif", "-"]);
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), leaky.json("a.sarif"));
    let (code, _, said) = report(&["--sarif", "-", "--github"]);
    assert_eq!(code, Some(125));
    assert!(said.contains("standard output can have one form"), "{said}");
}

#[test]
fn debug_files_that_are_missing_are_named_with_how_to_get_them() {
    let leaky = leaky();
    leaky.check(&["--record", "kept"], "er");
    let report = || text(&leaky.heapkeeper(&["report", "kept"]).stdout);
    assert!(!report().contains("/leaky (build id"), "{}", report());
    let missing = || {
        let told = report();
        told.lines()
            .find(|line| line.contains("debug file missing: ") && line.contains("leaky"))
            .unwrap_or_default()
            .to_owned()
    };
    succeed(Command::new("strip").arg(&leaky.program));
    let line = missing();
    assert!(line.contains("(build id ") && line.contains("no debug information; "), "{line}");
    assert!(report().contains("debuginfod-find debuginfo BUILD_ID\n"), "{}", report());
    std::fs::remove_file(&leaky.program).unwrap();
    let line = missing();
    assert!(
        line.contains("put the file that ran there again, or its debug file to /usr/lib/debug/.build-id/"),
        "{line}"
    );
}
