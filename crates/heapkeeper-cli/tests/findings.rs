//! Real programs on the real library: what is found, told, kept, and who is covered.

mod common;

use common::*;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Frees a block twice, in an inlined function, as often as its first argument says; then ends as its second
/// argument says.
const ORDERS: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static inline __attribute__((always_inline)) void release(int *orders) {
    free(orders);
}
__attribute__((noinline)) int order_total(int *orders) {
    int total = orders[0];
    release(orders);
    return total;
}
int main(int argc, char **argv) {
    for (int n = atoi(argv[1]); n > 0; n--) {
        int *orders = malloc(24);
        int *volatile kept = orders;
        orders[0] = n;
        order_total(orders);
        if (order_total(kept) == -1) puts("never");
    }
    puts("done");
    fflush(stdout);
    if (argc > 2 && !strcmp(argv[2], "kill")) raise(SIGKILL);
    if (argc > 2 && !strcmp(argv[2], "_exit")) _exit(3);
    if (argc > 2 && !strcmp(argv[2], "abort")) abort();
    if (argc > 2 && !strcmp(argv[2], "wait")) { char c; if (read(0, &c, 1) < 0) return 9; }
    return 0;
}
"#;

struct Folder {
    folder: tempfile::TempDir,
    program: PathBuf,
}

fn orders() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "orders.c", ORDERS, &["-g", "-O1", "-w"]);
    Folder { folder, program }
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `heapkeeper run ARGS -- orders PROGRAM_ARGS`, in this folder, without leaving recordings elsewhere.
    fn run(&self, args: &[&str], program_args: &[&str]) -> Command {
        let mut command = heapkeeper();
        command.current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        command.arg("run").args(args).arg("--").arg(&self.program).args(program_args);
        command
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Function, line, and whether inlined, of the frames up to main.
fn stack(finding: &Value) -> Vec<(String, u64, bool)> {
    let mut frames = Vec::new();
    for frame in finding["stack"].as_array().unwrap() {
        let function = frame["function"].as_str().unwrap_or_default().to_owned();
        let is_main = function == "main";
        frames.push((function, frame["line"].as_u64().unwrap_or(0), frame["inlined"].as_bool().unwrap()));
        if is_main {
            break;
        }
    }
    frames
}

fn line_of(text: &str) -> u64 {
    1 + ORDERS.lines().position(|line| line.contains(text)).unwrap() as u64
}

#[test]
fn a_double_free_is_named_with_its_inlined_line_and_ignored() {
    let folder = orders();
    let output = succeed(&mut folder.run(&["--json", "report.json"], &["1"]));
    assert_eq!(text(&output.stdout), "done\n");
    let said = text(&output.stderr);
    let sentence =
        "heapkeeper: double free (CWE-415): release() frees a 32-byte block that is already free\n";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert!(
        said.contains(&format!("#0 release  orders.c:{} (inlined)\n", line_of("free(orders);"))),
        "{said}"
    );
    assert!(said.contains("heapkeeper:   the call was ignored, the program goes on\n"), "{said}");

    let report = json(&folder.path("report.json"));
    let finding = &report["findings"][0];
    let expected = [
        ("release".to_owned(), line_of("free(orders);"), true),
        ("order_total".to_owned(), line_of("release(orders);"), false),
        ("main".to_owned(), line_of("order_total(kept)"), false),
    ];
    assert_eq!(stack(finding), expected);
    assert_eq!((&finding["cwe"], &finding["place"]), (&415.into(), &"free-block".into()));
    assert_eq!((&finding["block"]["bytes"], &finding["block"]["offset"]), (&32.into(), &0.into()));
    assert_eq!(finding["thread"]["name"], "orders");
    assert_eq!(finding["process"]["exe"], folder.program.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(report["summary"]["live_blocks"]["certainty"], "exact");
}

#[test]
fn one_bug_is_one_report_however_often_it_is_seen() {
    let folder = orders();
    let output = succeed(&mut folder.run(&["--json", "report.json"], &["50"]));
    let said = text(&output.stderr);
    assert_eq!(said.matches("heapkeeper: double free").count(), 1, "{said}");
    assert!(said.contains("1 finding (1 double free, 50 bad calls) in 1 process\n"), "{said}");
    let report = json(&folder.path("report.json"));
    assert_eq!((&report["summary"]["findings"], &report["summary"]["bad_calls"]), (&1.into(), &50.into()));
    assert_eq!(report["findings"][0]["repeats"], 50);
}

#[test]
fn findings_are_told_while_the_program_runs() {
    let folder = orders();
    let mut command = folder.run(&["--log", "log"], &["1", "wait"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = || std::fs::read_to_string(folder.path("log")).unwrap_or_default();
    wait_until("the finding is told", || log().contains("the call was ignored"));
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(!log().contains("1 finding"), "{}", log());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(log().contains("heapkeeper: 1 finding (1 double free) in 1 process\n"), "{}", log());
}

#[test]
fn the_summary_comes_whatever_way_the_program_ends() {
    let folder = orders();
    for (end, code, signal, counted) in [
        ("exit", Some(0), None, true),
        ("_exit", Some(3), None, true),
        ("kill", None, Some(9), false),
        ("abort", None, Some(6), false),
    ] {
        let output = folder.run(&["--json", "report.json"], &["2", end]).output().unwrap();
        assert_eq!((output.status.code(), output.status.signal()), (code, signal), "{end}");
        assert_eq!(text(&output.stdout), "done\n", "{end}");
        let said = text(&output.stderr);
        assert!(said.contains("1 finding (1 double free, 2 bad calls) in 1 process"), "{end}: {said}");
        let report = json(&folder.path("report.json"));
        assert_eq!((&report["exit_status"], &report["exit_signal"]), (&code.into(), &signal.into()));
        let process = &report["processes"][0];
        let (state, certainty) = if counted { ("counted", "exact") } else { ("running", "estimate") };
        assert_eq!(
            (&process["state"], &process["figures"]["live_bytes"]["certainty"]),
            (&state.into(), &certainty.into()),
            "{end}"
        );
        assert_eq!(process["figures"]["heap_peak_bytes"]["certainty"], "exact");
        assert!(report["summary"]["resident_peak_bytes"]["value"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn abort_stops_the_program_at_the_first_finding() {
    let folder = orders();
    let output = folder.run(&["--on-finding", "abort", "--json", "report.json"], &["5"]).output().unwrap();
    assert_eq!((output.status.signal(), text(&output.stdout)), (Some(6), String::new()));
    let said = text(&output.stderr);
    assert!(said.contains("SIGABRT was raised, as --on-finding abort asks"), "{said}");
    assert!(said.contains(" was ended by SIGABRT\n"), "{said}");
    let report = json(&folder.path("report.json"));
    assert_eq!(
        (&report["findings"][0]["aborted"], &report["summary"]["bad_calls"]),
        (&true.into(), &1.into())
    );
}

#[test]
fn a_kept_recording_gives_the_same_report_again() {
    let folder = orders();
    succeed(&mut folder.run(&["--record", "kept", "--json", "first.json"], &["3"]));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path("kept")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let again = |args: &[&str]| {
        text(&succeed(heapkeeper().current_dir(folder.folder.path()).arg("report").args(args)).stdout)
    };
    let told = again(&["kept"]);
    assert!(told.contains("double free (CWE-415)") && told.contains("3 bad calls"), "{told}");
    assert!(told.lines().all(|line| line.starts_with("heapkeeper: ")), "{told}");
    let again: Value = serde_json::from_str(&again(&["--json", "-", "kept"])).unwrap();
    let first = json(&folder.path("first.json"));
    assert_eq!((&again["findings"], &again["processes"]), (&first["findings"], &first["processes"]));
}

#[test]
fn a_recording_that_is_cut_short_says_so() {
    let folder = orders();
    succeed(&mut folder.run(&["--record", "kept"], &["3"]));
    let whole = std::fs::read(folder.path("kept")).unwrap();
    std::fs::write(folder.path("cut"), &whole[..20_000]).unwrap();
    let output = heapkeeper().arg("report").arg(folder.path("cut")).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stdout).contains("the recording is cut short: only 19.5 KiB of 64.0 MiB are there"));
    assert!(text(&output.stderr).contains("is cut short: use the whole file, or record again"));
    // The recording must not be replaced by its report.
    let mut onto_itself = heapkeeper();
    onto_itself.arg("report").arg("--json").arg(folder.path("kept")).arg(folder.path("kept"));
    assert_eq!(onto_itself.output().unwrap().status.code(), Some(125));
    assert!(std::fs::read(folder.path("kept")).unwrap() == whole);
}

#[test]
fn different_places_on_one_line_are_different_findings() {
    let source = r#"
#include <stdlib.h>
static char order[64];
int main(void) {
    char local[64];
    void *bad[] = {local, order, local, (void *)16};
    for (int i = 0; i < 4; i++) free(bad[i]);
    return 0;
}
"#;
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "places.c", source, &["-g", "-O1", "-w"]);
    let mut run = heapkeeper();
    run.current_dir(folder.path()).args(["run", "--json", "report.json", "--"]).arg(&program);
    run.env("TMPDIR", folder.path());
    succeed(&mut run);
    let report = json(&folder.path().join("report.json"));
    let found: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| (&f["place"], &f["repeats"])).collect();
    assert_eq!(
        found,
        [(&"stack".into(), &2.into()), (&"static-data".into(), &1.into()), (&"unmapped".into(), &1.into())]
    );
}

#[test]
fn a_program_with_its_own_malloc_is_named_as_not_covered() {
    let source = r#"
#include <stddef.h>
static char arena[1 << 20];
static size_t used;
void *malloc(size_t bytes) { void *block = arena + used; used += (bytes + 15) & ~15ul; return block; }
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t bytes) { return malloc(count * bytes); }
void *realloc(void *block, size_t bytes) { (void)block; return malloc(bytes); }
int main(void) { void *block = malloc(10); free(block); free(block); return 0; }
"#;
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "own.c", source, &["-O1", "-w", "-fno-builtin"]);
    let said = text(&succeed(heapkeeper().args(["run", "--"]).arg(&program)).stderr);
    assert!(said.contains("no findings in 0 processes, 1 program not covered"), "{said}");
    assert!(said.contains("own: it has a malloc of its own"), "{said}");
}

#[test]
fn a_temporary_recording_stays_only_if_there_is_something_in_it() {
    let folder = orders();
    let recordings = || {
        let entries = std::fs::read_dir(folder.folder.path()).unwrap().map(|e| e.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|e| e == "hkrec")).collect::<Vec<_>>()
    };
    succeed(&mut folder.run(&[], &["0"]));
    assert_eq!(recordings(), [] as [PathBuf; 0]);
    let said = text(&succeed(&mut folder.run(&[], &["1"])).stderr);
    let kept = recordings();
    assert_eq!(kept.len(), 1);
    assert!(
        said.contains(&format!("heapkeeper: to see this again: heapkeeper report {}\n", kept[0].display()))
    );
    let told = text(&succeed(heapkeeper().arg("report").arg(&kept[0])).stdout);
    assert!(told.contains("1 finding (1 double free)"), "{told}");
}

#[test]
fn children_are_covered_also_with_a_cleared_environment() {
    let folder = orders();
    let program = folder.program.display();
    let script = format!("{program} 1; env -i {program} 1; ( {program} 1 )");
    let mut command = heapkeeper();
    command.env("TMPDIR", folder.folder.path()).current_dir(folder.folder.path());
    let output = succeed(command.args(["run", "--json", "report.json", "--", "sh", "-c", &script]));
    assert_eq!(text(&output.stdout), "done\ndone\ndone\n");
    let report = json(&folder.path("report.json"));
    let finding = &report["findings"][0];
    assert_eq!(report["summary"]["findings"], 1, "{report:#}");
    assert_eq!((&finding["repeats"], &finding["process_count"]), (&3.into(), &3.into()), "{report:#}");
    assert_eq!(report["not_covered"], serde_json::json!([]), "{report:#}");
    // sh, its fork for the parentheses if it makes one, and three programs.
    let processes = report["summary"]["processes"].as_u64().unwrap();
    assert!((4..=5).contains(&processes), "{report:#}");
}

/// It runs none of the handlers that libc's fork calls.
#[test]
fn a_child_of_a_bare_system_call_has_findings_and_figures_of_its_own() {
    let source = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            char *volatile block = malloc(100);
            pid_t child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
            if (child == 0) {
                free(block);
                free(block);
                char *volatile much = malloc(40 << 20);
                memset(much, 1, 40 << 20);
                free(much);
                _exit(0);
            }
            waitpid(child, NULL, 0);
            printf("%d\n", child);
        }"#;
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "bare.c", source, &["-g", "-O1", "-w"]);
    let mut command = heapkeeper();
    command.current_dir(folder.path());
    let output = succeed(command.args(["run", "--json", "report.json", "--"]).arg(&program));
    let child: u64 = text(&output.stdout).trim().parse().unwrap();
    let report = json(&folder.path().join("report.json"));
    let (parent, other) = (&report["processes"][0], &report["processes"][1]);
    assert_eq!(report["findings"][0]["process"]["pid"], child, "{report:#}");
    assert_eq!(
        (&other["pid"], &other["ppid"], &other["forked"]),
        (&child.into(), &parent["pid"], &true.into())
    );
    let peak = |process: &serde_json::Value| process["figures"]["live_peak_bytes"]["value"].as_u64().unwrap();
    assert!(peak(parent) < 1 << 20 && peak(other) >= 40 << 20, "{report:#}");
    assert_eq!(
        parent["figures"]["live_blocks"]["value"].as_u64().unwrap(),
        2,
        "the block and stdout's buffer"
    );
}

#[test]
fn a_run_inside_a_run_has_programs_of_its_own() {
    let folder = orders();
    let mut command = heapkeeper();
    command.current_dir(folder.folder.path()).args(["run", "--json", "outer.json", "--"]);
    command.arg(env!("CARGO_BIN_EXE_heapkeeper")).args(["run", "--json", "inner.json", "--"]);
    succeed(command.arg(&folder.program).arg("1"));
    let (outer, inner) = (json(&folder.path("outer.json")), json(&folder.path("inner.json")));
    assert_eq!((&outer["not_covered"], &outer["summary"]["findings"]), (&serde_json::json!([]), &0.into()));
    assert_eq!((&inner["not_covered"], &inner["summary"]["findings"]), (&serde_json::json!([]), &1.into()));
}

/// `--record` and `--log` name files of an earlier run, and CMD is misspelt.
#[test]
fn a_program_that_cannot_be_started_costs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| folder.path().join(name).exists();
    for name in ["old.hkrec", "old.log"] {
        std::fs::write(folder.path().join(name), "keep me").unwrap();
    }
    for files in [["old.hkrec", "old.log"], ["new.hkrec", "new.log"]] {
        let mut command = heapkeeper();
        command.current_dir(folder.path());
        command.args(["run", "--record", files[0], "--log", files[1], "--", "no-such-program"]);
        assert_eq!(command.output().unwrap().status.code(), Some(127));
    }
    for name in ["old.hkrec", "old.log"] {
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "keep me");
    }
    assert!(!there("new.hkrec") && !there("new.log"));
    let mut command = heapkeeper();
    command.current_dir(folder.path());
    succeed(command.args(["run", "--record", "old.hkrec", "--log", "old.log", "--", "true"]));
    assert!(
        std::fs::read_to_string(folder.path().join("old.log"))
            .unwrap()
            .starts_with("heapkeeper: running true")
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn the_program_is_no_place_for_a_report() {
    let folder = orders();
    for option in ["--json", "--log", "--record"] {
        let mut command = heapkeeper();
        command.arg("run").arg(option).arg(&folder.program).arg("--").arg(&folder.program);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output.stderr).contains(&format!("CMD and {option} are the same file")));
    }
    succeed(std::process::Command::new(&folder.program).arg("0"));
}

#[test]
fn what_a_daemon_does_later_is_in_the_recording() {
    let source = r"
        #include <stdlib.h>
        #include <unistd.h>
        int main(void) {
            if (fork()) _exit(0);
            setsid();
            if (fork()) _exit(0);
            close(0), close(1), close(2);
            usleep(300000);
            void *volatile block = malloc(50);
            free(block);
            free(block);
        }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "daemon.c", source, &["-g", "-O1", "-w"]);
    let mut command = heapkeeper();
    command.env("TMPDIR", folder.path()).env_remove("XDG_RUNTIME_DIR");
    let said = text(&succeed(command.arg("run").arg("--").arg(&program)).stderr);
    // The one in between may not be gone yet.
    let (_, told) = said.split_once(" still going on (").expect(&said);
    let recording = told.split_once("heapkeeper report ").unwrap().1.trim();
    let start = std::time::Instant::now();
    loop {
        let report = text(&succeed(heapkeeper().args(["report", recording])).stdout);
        if report.contains("1 finding (1 double free)") {
            break;
        }
        assert!(start.elapsed().as_secs() < 20, "{report}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// As setproctitle does.
#[test]
fn a_daemon_that_overwrites_its_environment_is_known_all_the_same() {
    let source = r"
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        extern char **environ;
        int main(void) {
            void *volatile block = malloc(50);
            int ready[2];
            char byte;
            pipe(ready);
            if (fork()) return read(ready[0], &byte, 1) != 1;
            for (char **entry = environ; *entry; entry++) memset(*entry, 0, strlen(*entry));
            close(0), close(1), close(2);
            write(ready[1], &byte, 1);
            usleep(1000000);
            free(block);
        }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "title.c", source, &["-g", "-O1", "-w"]);
    let mut command = heapkeeper();
    command.env("TMPDIR", folder.path()).env_remove("XDG_RUNTIME_DIR");
    let said = text(&succeed(command.arg("run").arg("--").arg(&program)).stderr);
    assert!(said.contains("1 process of this run still going on (title "), "{said}");
}

#[test]
fn processes_of_a_run_whose_recording_has_a_longer_name_are_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let run = |recording: &str, script: &str| {
        let mut command = heapkeeper();
        command.current_dir(folder.path()).args(["run", "--record", recording, "--", "sh", "-c", script]);
        text(&succeed(&mut command).stderr)
    };
    let said = run("out2", "sleep 2 >/dev/null 2>&1 &");
    assert!(said.contains("1 process of this run still going on"), "{said}");
    assert!(!run("out", "true").contains("still going on"));
    // Nor those of an earlier run with a recording of this name: they write to what was there before.
    assert!(!run("out2", "true").contains("still going on"));
}

#[test]
fn what_a_vfork_child_forbids_itself_is_not_its_parents() {
    let source = r#"
        #include <sys/prctl.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            if (vfork() == 0) {
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                execl("/bin/true", "true", (char *)0);
                _exit(1);
            }
            wait(0);
            return 0;
        }"#;
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "nnp.c", source, &["-g", "-w"]);
    let said = text(&succeed(heapkeeper().arg("run").arg("--").arg(&program)).stderr);
    let at_exit = said.lines().find(|line| line.contains("nnp (") && line.contains("at exit")).expect(&said);
    assert!(at_exit.ends_with("resident (exact)"), "{said}");
}

/// Its own symbol `malloc` then has an address, but is not defined.
#[test]
fn a_program_linked_for_a_fixed_address_has_no_malloc_of_its_own() {
    let source = r"
        #include <stdlib.h>
        static int use(void *(*take)(size_t), void (*give)(void *)) {
            void *volatile block = take(10);
            give(block);
            give(block);
            return 0;
        }
        int main(void) { return use(malloc, free); }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "fixed.c", source, &["-g", "-w", "-no-pie", "-fno-pie"]);
    let said = text(&succeed(heapkeeper().arg("run").arg("--").arg(&program)).stderr);
    assert!(said.contains("1 finding (1 double free) in 1 process\n"), "{said}");
}

#[test]
fn a_peak_before_an_exec_is_the_processes_peak() {
    let source = r#"
        #include <stdlib.h>
        #include <string.h>
        #include <unistd.h>
        int main(void) {
            void *volatile block = malloc(50 << 20);
            memset(block, 1, 50 << 20);
            execl("/bin/true", "true", (char *)0);
        }"#;
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "becomes.c", source, &["-g", "-w"]);
    let said = text(&succeed(heapkeeper().arg("run").arg("--").arg(&program)).stderr);
    assert!(
        said.contains("at its peak: at most 50.1 MiB live (estimate), 50.0 MiB of heap (exact)"),
        "{said}"
    );
}

#[test]
fn a_static_child_is_named_as_not_covered() {
    let folder = orders();
    let source = "int main(void) { return 0; }";
    let alone = compile(folder.folder.path(), "alone.c", source, &["-static"]);
    let script = format!("{0}; {0}; exit 4", alone.display());
    let mut command = heapkeeper();
    let output = command.args(["run", "--", "sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    let expected = format!(
        "heapkeeper: not covered: {}, 2 times: it is statically linked, so nothing can be preloaded into it\n",
        alone.display()
    );
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("2 programs not covered"), "{said}");

    // As the program itself: said before and after.
    let output = succeed(heapkeeper().arg("run").arg("--").arg(&alone));
    let said = text(&output.stderr);
    assert!(
        said.lines().next().unwrap().contains("which cannot be covered: it is statically linked"),
        "{said}"
    );
    assert!(said.contains("no findings in 0 processes, 1 program not covered\n"), "{said}");
    assert!(said.contains(&format!("not covered: {}: it is statically linked", alone.display())), "{said}");
}

/// Rights are only gained by somebody who has not all of them: root runs this as nobody.
#[test]
fn a_setuid_child_is_named_as_not_covered() {
    let folder = tempfile::tempdir().unwrap();
    let run_as_nobody = || {
        let own = folder.path().join("heapkeeper");
        std::fs::copy(env!("CARGO_BIN_EXE_heapkeeper"), &own).unwrap();
        for path in [folder.path(), &own] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(own);
        command.env("HOME", home).env_remove("XDG_CACHE_HOME").env_remove("XDG_RUNTIME_DIR");
        command
    };
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let mut command = if is_root { run_as_nobody() } else { heapkeeper() };
    let Some(su) = ["/usr/bin/su", "/bin/su"].into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: there is no su (Debian: apt-get install util-linux)");
        return;
    };
    let script = format!("{su} --version >/dev/null; exit 4");
    let output = command.current_dir("/").args(["run", "--", "sh", "-c", &script]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let expected =
        format!("heapkeeper: not covered: {su}: it is setuid, and the loader ignores LD_PRELOAD for it");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn keep_never_reuses_and_counts() {
    let folder = orders();
    succeed(&mut folder.run(&["--mode", "keep", "--json", "report.json"], &["0"]));
    let report = json(&folder.path("report.json"));
    assert_eq!(
        (&report["processes"][0]["mode"], &report["findings"]),
        (&"keep".into(), &serde_json::json!([]))
    );
}

#[test]
fn lines_are_plain_where_no_terminal_is() {
    let folder = orders();
    let output = succeed(folder.run(&[], &["1"]).env("TERM", "xterm"));
    assert!(!text(&output.stderr).contains('\x1b'));
    // `script` gives it a terminal.
    let on_terminal = |variable: &str| {
        let command = format!("{} run -- {} 1", env!("CARGO_BIN_EXE_heapkeeper"), folder.program.display());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").env("TMPDIR", folder.folder.path());
        if let Some((name, value)) = variable.split_once('=') {
            script.env(name, value);
        }
        text(&succeed(script.stdin(Stdio::null())).stdout)
    };
    assert!(on_terminal("").contains("\x1b[1;31mdouble free (CWE-415)"), "{}", on_terminal(""));
    assert!(!on_terminal("NO_COLOR=1").contains('\x1b'));
    assert!(!on_terminal("TERM=dumb").contains('\x1b'));
}
