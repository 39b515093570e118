//! `heapkeeper check`: exit statuses, baselines, suppressions, sites and files.

mod common;

use common::*;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Frees a block twice in the functions whose letters its first argument has; ends with the status that is its second, or by SIGTERM.
const SHOP: &str = r#"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#define TWICE(name) __attribute__((noinline)) void name(void) { \
    int *volatile block = malloc(24); free(block); free(block); }
TWICE(close_a)
TWICE(close_b)
int main(int argc, char **argv) {
    if (strchr(argv[1], 'a')) close_a();
    if (strchr(argv[1], 'b')) close_b();
    if (strchr(argv[1], 'c')) { close_a(); close_a(); }
    if (argc > 2 && !strcmp(argv[2], "term")) raise(SIGTERM);
    return argc > 2 ? atoi(argv[2]) : 0;
}
"#;

struct Shop {
    folder: tempfile::TempDir,
    program: PathBuf,
}

/// What a check came to.
struct Checked {
    output: Output,
    said: String,
}

impl Checked {
    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }
}

fn shop() -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "shop.c", SHOP, &["-g", "-O1", "-w"]);
    Shop { folder, program }
}

impl Shop {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, options: &[&str], program: &Path, args: &[&str]) -> Command {
        let mut command = heapkeeper();
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command.arg("check").args(options).arg("--").arg(program).args(args);
        command
    }

    /// `heapkeeper check OPTIONS -- shop ARGS`.
    fn check(&self, options: &[&str], args: &[&str]) -> Checked {
        let output = self.command(options, &self.program, args).output().unwrap();
        Checked { said: text(&output.stderr), output }
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap()
    }

    /// The ids of what there is to find.
    fn ids(&self, which: &str) -> Vec<String> {
        self.check(&["--json", "ids.json"], &[which]);
        let report = self.json("ids.json");
        report["findings"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn the_status_is_the_programs_own_if_nothing_is_found() {
    let shop = shop();
    for status in [0, 5] {
        assert_eq!(shop.check(&[], &["-", &status.to_string()]).code(), Some(status));
    }
    assert_eq!(shop.check(&[], &["-", "term"]).output.status.signal(), Some(15));
    let missing = shop.command(&[], Path::new("/no/such/program"), &[]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn a_finding_is_97_whatever_the_program_says() {
    let shop = shop();
    for end in ["0", "5", "term"] {
        let checked = shop.check(&[], &["ab", end]);
        assert_eq!(checked.code(), Some(97), "{}", checked.said);
        assert!(
            checked.said.ends_with("heapkeeper: check: 2 new findings (exit status 97)\n"),
            "{}",
            checked.said
        );
    }
}

#[test]
fn nothing_seen_is_98_and_says_why() {
    let shop = shop();
    let alone = compile(shop.folder.path(), "alone.c", "int main(void) { return 0; }", &["-static"]);
    let output = shop.command(&[], &alone, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(98));
    let said = text(&output.stderr);
    let why = format!("blind: nothing of this run was covered: {}: it is statically linked", alone.display());
    assert!(said.contains(&why), "{said}");

    let source = r"
        #include <stddef.h>
        static char arena[1 << 20];
        static size_t used;
        void *malloc(size_t bytes) { void *block = arena + used; used += (bytes + 15) & ~15ul; return block; }
        void free(void *block) { (void)block; }
        void *calloc(size_t count, size_t bytes) { return malloc(count * bytes); }
        void *realloc(void *block, size_t bytes) { (void)block; return malloc(bytes); }
        int main(void) { free(malloc(10)); return 0; }";
    let own = compile(shop.folder.path(), "own.c", source, &["-O1", "-w", "-fno-builtin"]);
    let output = shop.command(&[], &own, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(98));
    assert!(text(&output.stderr).contains("it has a malloc of its own"), "{}", text(&output.stderr));
}

#[test]
fn a_baseline_lets_known_findings_pass_and_new_ones_not() {
    let shop = shop();
    let first = shop.check(&["--baseline", "known.json"], &["a", "3"]);
    assert_eq!(first.code(), Some(97));
    assert!(
        first.said.contains("there is no baseline known.json yet: every finding is new\n"),
        "{}",
        first.said
    );
    assert!(!shop.path("known.json").exists());
    let written = shop.check(&["--baseline", "known.json", "--update-baseline"], &["a", "3"]);
    assert_eq!(written.code(), Some(3), "{}", written.said);
    assert!(written.said.ends_with("heapkeeper: the baseline has 1 finding now\n"), "{}", written.said);
    let baseline = shop.json("known.json");
    assert_eq!((&baseline["schema"], &baseline["version"]), (&"heapkeeper-baseline".into(), &1.into()));
    assert_eq!(
        (&baseline["findings"][0]["kind"], &baseline["findings"][0]["count"]),
        (&"double-free".into(), &1.into())
    );

    let known = shop.check(&["--baseline", "known.json"], &["a", "3"]);
    assert_eq!(known.code(), Some(3), "{}", known.said);
    assert!(known.said.contains("1 finding (1 double free) in 1 process: 1 known\n"), "{}", known.said);
    assert!(known.said.contains("heapkeeper: double free (CWE-415): close_a()"), "{}", known.said);
    // A rebuilt program with other lines has the same bugs.
    shop.write("shop.c", &format!("\n\n\n{SHOP}"));
    succeed(
        Command::new("gcc").args(["-g", "-O0", "-w", "-o", "shop", "shop.c"]).current_dir(shop.folder.path()),
    );
    let both = shop.check(&["--baseline", "known.json", "--new-only", "--json", "r.json"], &["ab", "3"]);
    assert_eq!(both.code(), Some(97));
    assert!(
        both.said.contains("close_b()") && !both.said.contains("double free (CWE-415): close_a()"),
        "{}",
        both.said
    );
    let statuses: Vec<Value> =
        shop.json("r.json")["findings"].as_array().unwrap().iter().map(|f| f["status"].clone()).collect();
    assert_eq!(statuses, ["known", "new"]);

    let gone = shop.check(&["--baseline", "known.json"], &["-"]);
    assert_eq!(gone.code(), Some(0));
    assert!(gone.said.contains("1 known finding was not seen again: HK-DF-"), "{}", gone.said);
}

#[test]
fn a_damaged_baseline_stops_it_before_the_program_runs() {
    let shop = shop();
    for text in ["{\"schema\": \"heapkeeper-base", "[]", "{\"schema\":\"x\",\"version\":1,\"findings\":[]}"] {
        shop.write("known.json", text);
        let checked = shop.check(&["--baseline", "known.json", "--update-baseline"], &["a"]);
        assert_eq!(checked.code(), Some(125), "{}", checked.said);
        assert!(checked.said.contains("the baseline known.json is damaged: "), "{}", checked.said);
        assert_eq!(checked.said.lines().count(), 1, "{}", checked.said);
        assert_eq!(std::fs::read_to_string(shop.path("known.json")).unwrap(), text);
    }
}

#[test]
fn a_blind_run_writes_no_baseline() {
    let shop = shop();
    let alone = compile(shop.folder.path(), "alone.c", "int main(void) { return 0; }", &["-static"]);
    shop.check(&["--baseline", "known.json", "--update-baseline"], &["a"]);
    let before = std::fs::read(shop.path("known.json")).unwrap();
    let output =
        shop.command(&["--baseline", "known.json", "--update-baseline"], &alone, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(98));
    assert!(text(&output.stderr).contains("the baseline was not written"));
    assert!(std::fs::read(shop.path("known.json")).unwrap() == before);
}

#[test]
fn suppressed_findings_do_not_count_and_are_not_told() {
    let shop = shop();
    let id = &shop.ids("a")[0];
    shop.write("own.txt", &format!("[known]\nid: {id}\nwhy: fixed in 2.0\n"));
    shop.write("valgrind.supp", "{\n  b\n  Memcheck:Free\n  fun:free\n  fun:close_b\n}\n");
    shop.write("lsan.supp", "race:libfoo\n");
    let options =
        ["--suppressions", "own.txt", "--suppressions", "valgrind.supp", "--suppressions", "lsan.supp"];
    let checked = shop.check(&[&options[..], &["--json", "r.json"]].concat(), &["ab", "4"]);
    assert_eq!(checked.code(), Some(4), "{}", checked.said);
    assert!(!checked.said.contains("CWE-415"), "{}", checked.said);
    assert!(
        checked.said.contains("2 findings (2 double free) in 1 process: 2 suppressed\n"),
        "{}",
        checked.said
    );
    assert!(
        checked.said.contains("1 suppression does not apply: 'race' is about a sanitizer's own checks\n"),
        "{}",
        checked.said
    );
    let report = shop.json("r.json");
    assert_eq!(report["findings"][0]["suppressed_by"], "known (own.txt:1)");
    assert_eq!(report["findings"][1]["status"], "suppressed");
    let unused = shop.check(&options, &["b"]);
    assert_eq!(unused.code(), Some(0), "{}", unused.said);
    assert!(unused.said.contains("1 suppression was not used: 'known' (own.txt:1)\n"), "{}", unused.said);
}

#[test]
fn suppressions_end_and_cover_so_many_calls() {
    let shop = shop();
    shop.write("old.txt", "[old]\nframe: close_a\nuntil: 2024-02-29\nowner: shop team\n");
    let checked = shop.check(&["--suppressions", "old.txt"], &["a"]);
    assert_eq!(checked.code(), Some(97));
    let ended = "note: the suppression 'old' (old.txt:1) ended on 2024-02-29 (owner: shop team); it would cover HK-DF-";
    assert!(checked.said.contains(ended), "{}", checked.said);
    shop.write("some.txt", "[some]\nframe: close_a\nuntil: 2999-12-31\nmax: 1\n");
    assert_eq!(shop.check(&["--suppressions", "some.txt"], &["a"]).code(), Some(0));
    let checked = shop.check(&["--suppressions", "some.txt"], &["c"]);
    assert_eq!(checked.code(), Some(97), "{}", checked.said);
    assert!(checked.said.contains("covers 1 bad call at most, and there are 2\n"), "{}", checked.said);
    // It was not told while it ran, as nobody knew that there would be so many.
    assert_eq!(checked.said.matches("heapkeeper: double free (CWE-415)").count(), 1, "{}", checked.said);
}

#[test]
fn damaged_suppressions_are_named_with_their_line() {
    let shop = shop();
    shop.write("bad.txt", "[a]\nframe: x\nuntil: soon\n");
    let checked = shop.check(&["--suppressions", "bad.txt"], &["a"]);
    assert_eq!(checked.code(), Some(125));
    assert!(
        checked.said.starts_with("heapkeeper: bad.txt:3: 'soon' is no day: give it as "),
        "{}",
        checked.said
    );
    let checked = shop.check(&["--suppressions", "none.txt"], &["a"]);
    assert!(checked.said.contains("cannot read the suppressions none.txt"), "{}", checked.said);
}

#[test]
fn the_text_that_is_offered_suppresses() {
    let shop = shop();
    let said = shop.check(&[], &["a"]).said;
    let (_, offered) = said.split_once("put this into a file for --suppressions FILE:\n").expect(&said);
    let lines = offered.lines().map_while(|line| line.strip_prefix("heapkeeper:   "));
    shop.write("offered.txt", &lines.collect::<Vec<_>>().join("\n"));
    let checked = shop.check(&["--suppressions", "offered.txt"], &["a"]);
    assert_eq!(checked.code(), Some(0), "{}", checked.said);
}

#[test]
fn both_sides_are_two_runs_and_one_report() {
    let shop = shop();
    let checked = shop.check(&["--side", "both", "--json", "r.json", "--record", "kept"], &["a", "7"]);
    assert_eq!(checked.code(), Some(97));
    assert_eq!(checked.said.matches("heapkeeper: double free (CWE-415)").count(), 1, "{}", checked.said);
    assert!(
        checked.said.contains("1 finding (1 double free, 2 bad calls) in 2 processes"),
        "{}",
        checked.said
    );
    let report = shop.json("r.json");
    assert_eq!((&report["findings"][0]["repeats"], &report["exit_status"]), (&2.into(), &7.into()));
    for side in ["kept.end", "kept.start"] {
        succeed(heapkeeper().arg("report").arg(shop.path(side)));
    }
    let settings = |options: &[&str]| {
        let output = shop.command(options, Path::new("sh"), &["-c", "echo $HEAPKEEPER"]).output().unwrap();
        text(&output.stdout)
    };
    assert!(settings(&[]).contains("guard-side=end,guard-batch=0,leaks=exit,guard=1/1,"));
    assert!(
        settings(&["--side", "start", "--guard", "1/9"])
            .contains("guard-side=start,guard-batch=0,leaks=exit,guard=1/9,")
    );
    let both = settings(&["--side", "both"]);
    let sides: Vec<bool> = both.lines().map(|line| line.contains("guard-side=end,")).collect();
    assert_eq!(sides, [true, false], "{both}");
}

#[test]
fn a_site_travels_as_addresses() {
    let shop = shop();
    let settings = |site: &str| {
        let source = r#"
            #include <stdio.h>
            #include <stdlib.h>
            __attribute__((noinline)) void tell(void) { puts(getenv("HEAPKEEPER")); }
            int main(void) { tell(); return 0; }"#;
        let program = compile(shop.folder.path(), "tell.c", source, &["-g", "-O1"]);
        let output = shop.command(&["--guard", site], &program, &[]).output().unwrap();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    for site in ["site:tell", "site:tell.c:4"] {
        let (value, said, code) = settings(site);
        assert_eq!(code, Some(0), "{said}");
        assert!(value.contains(&format!("guard={site},guard-sites=")), "{value}");
        let (_, sites) = value.split_once("guard-sites=").unwrap();
        let (start, end) = sites.split([',', '+']).next().unwrap().split_once('-').unwrap();
        let hex = |digits: &str| u64::from_str_radix(digits, 16).unwrap();
        assert!(hex(start) < hex(end) && hex(start) > 0x100, "{value}");
        assert!(said.contains(&format!("blocks allocated below {} are guarded", &site[5..])), "{said}");
    }
    // A variable may be meant for another program.
    let mut inner = shop.command(&[], &shop.program, &["-", "6"]);
    let output = inner.env("HEAPKEEPER", "guard=site:tell").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("heapkeeper: HEAPKEEPER: ignored: guard site:tell: there is no such"), "{said}");
    assert!(said.contains("; every block is guarded\n"), "{said}");
    for (site, expected) in [
        ("site:tell_nobody", "and its libraries"),
        ("site:tel", "guard site:tel: there is none in "),
        ("site:tell.c:1", "there is: tell.c:4, tell.c:5"),
        ("site:tll.c:1", "there is: tell.c\n"),
        ("1/0", "guard is off, 1/N, site:FUNC or site:FILE:LINE"),
    ] {
        let (_, said, code) = settings(site);
        assert_eq!(code, Some(125), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn annotations_go_to_standard_error() {
    let shop = shop();
    let checked = shop.check(&["--github", "--log", "log"], &["ab"]);
    assert_eq!(text(&checked.output.stdout), "");
    assert_eq!(
        checked.said.lines().filter(|line| line.starts_with("::error ")).count(),
        2,
        "{}",
        checked.said
    );
    let id = &shop.ids("a")[0];
    shop.write("own.txt", &format!("[known]\nid: {id}\n"));
    let checked = shop.check(&["--github", "--suppressions", "own.txt"], &["ab"]);
    assert_eq!(
        checked.said.lines().filter(|line| line.starts_with("::error ")).count(),
        1,
        "{}",
        checked.said
    );
}

#[test]
fn files_are_whole_or_as_they_were() {
    let shop = shop();
    shop.write("old.sarif", "keep me");
    let options = ["--sarif", "old.sarif", "--junit", "new.xml", "--html", "new.html"];
    let missing = shop.command(&options, Path::new("/no/such/program"), &[]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(std::fs::read_to_string(shop.path("old.sarif")).unwrap(), "keep me");
    assert!(!shop.path("new.xml").exists());
    assert_eq!(shop.check(&options, &["a"]).code(), Some(97));
    for name in ["old.sarif", "new.xml", "new.html"] {
        assert!(std::fs::metadata(shop.path(name)).unwrap().len() > 100, "{name}");
    }
    for pair in [["--sarif", "x", "--html", "x"], ["--baseline", "x", "--json", "x"]] {
        let checked = shop.check(&pair, &["a"]);
        assert_eq!(checked.code(), Some(125));
        assert!(checked.said.contains("are the same file x: give each its own"), "{}", checked.said);
    }
}
