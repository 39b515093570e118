//! Lost blocks are told apart from those that are merely not freed.

mod common;

use common::*;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn run(folder: &Path, verb: &[&str], program: &[&str]) -> (Output, Value) {
    run_for_report(folder, verb, program, |_| {})
}

/// What is told of one leak: who allocated, how it was lost, blocks, bytes, and those that were lost with it.
type Told = (String, String, [u64; 4]);

fn leaks(report: &Value) -> Vec<Told> {
    let findings = report["findings"].as_array().unwrap().iter();
    let mut told: Vec<Told> = findings
        .inspect(|finding| assert_eq!((&finding["kind"], &finding["cwe"]), (&"leak".into(), &401.into())))
        .map(|finding| {
            let leak = &finding["leak"];
            let site = finding["life"]["allocated"]["stack"][0]["function"].as_str().unwrap_or("-");
            let numbers = ["blocks", "bytes", "indirect_blocks", "indirect_bytes"]
                .map(|key| leak[key].as_u64().unwrap());
            (site.to_owned(), leak["loss"].as_str().unwrap().to_owned(), numbers)
        })
        .collect();
    told.sort();
    told
}

/// Each way of losing a block, and each of holding one.
const WAYS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#define SITE __attribute__((noinline))
struct node { struct node *volatile next, *volatile other; char room[40]; };
SITE struct node *lost_alone(void) { return malloc(100); }
SITE struct node *lost_list(struct node *next) { struct node *n = calloc(1, sizeof *n); n->next = next; return n; }
SITE struct node *lost_ring(void) { return calloc(1, sizeof(struct node)); }
SITE struct node *lost_self(void) { struct node *n = calloc(1, sizeof *n); n->other = n; return n; }
SITE struct node *lost_below(void) { return malloc(90); }
SITE void leave_below(int depth) {
    struct node *volatile rest[64];
    if (depth) leave_below(depth - 1);
    for (volatile int i = 0; i < 64; i++) rest[i] = depth ? NULL : lost_below();
}
SITE struct node *held(size_t bytes) { return calloc(1, bytes); }
static struct node *volatile in_data, *volatile table[4];
static __thread struct node *volatile in_tls;
static char *volatile inside, *volatile behind;
static void *kept_by_thread(void *block) {
    leave_below(20);
    struct node *volatile only = held(200);
    in_tls = held(201);
    struct node *volatile *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *mapped = held(202);
    ((char *volatile *)block)[0] = "ready";
    pause();
    return (void *)only;
}
static ucontext_t main_context, other_context;
static void coroutine(void) {
    struct node *volatile only = held(203);
    swapcontext(&other_context, &main_context);
    free((void *)only);
}
static void lose(void) {
    for (volatile int i = 0; i < 3; i++) { struct node *volatile n = lost_alone(); n = NULL; }
    struct node *volatile list = NULL;
    for (volatile int i = 0; i < 1000; i++) list = lost_list(list);
    list = NULL;
    struct node *volatile ring[3];
    for (volatile int i = 0; i < 3; i++) ring[i] = lost_ring();
    for (volatile int i = 0; i < 3; i++) ring[i]->next = ring[(i + 1) % 3];
    ring[0]->other = lost_list(NULL);
    memset((void *)ring, 0, sizeof ring);
    struct node *volatile self = lost_self();
    self = NULL;
}
int main(void) {
    in_data = held(64);
    in_data->next = held(64);
    table[2] = held(64);
    table[2]->other = held(64);
    in_tls = held(64);
    inside = (char *)held(5000) + 4000;
    behind = (char *)held(60) + 60;
    struct node *chain = held(64);
    struct node *volatile *from_heap = (void *)(table[1] = held(4096));
    from_heap[511] = chain;
    for (int i = 0; i < 100000; i++) chain = chain->next = held(sizeof *chain);
    char *volatile ready = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, kept_by_thread, (void *)&ready);
    while (!ready) usleep(100);
    table[3] = malloc(65536);
    getcontext(&other_context);
    other_context.uc_stack.ss_sp = table[3];
    other_context.uc_stack.ss_size = 65536;
    makecontext(&other_context, coroutine, 0);
    swapcontext(&main_context, &other_context);
    lose();
    return 0;
}
"#;

#[test]
fn each_way_of_losing_a_block_is_told_and_no_way_of_holding_one() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "ways.c", WAYS, &["-g", "-O1", "-w", "-pthread"]);
    let (output, report) = run(folder.path(), &["check"], &[program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    let told = leaks(&report);
    let expected = |site: &str, loss: &str, numbers: [u64; 4]| (site.to_owned(), loss.to_owned(), numbers);
    let node = 56;
    assert_eq!(
        told,
        [
            expected("lost_alone", "direct", [3, 300, 0, 0]),
            expected("lost_below", "direct", [64, 64 * 90, 0, 0]),
            expected("lost_list", "direct", [1, node, 999, 999 * node]),
            expected("lost_ring", "cycle", [1, node, 3, 3 * node]),
            expected("lost_self", "direct", [1, node, 0, 0]),
        ],
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_guards_sizes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "ways.c", WAYS, &["-g", "-O1", "-w", "-pthread"]);
    let (output, report) =
        run(folder.path(), &["run", "--leaks", "--guard", "off"], &[program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told: Vec<(String, [u64; 4])> =
        leaks(&report).into_iter().map(|(_, loss, numbers)| (loss, numbers)).collect();
    // Blocks as the heap rounds them.
    assert_eq!(
        told,
        [
            ("cycle".into(), [1, 64, 3, 192]),
            ("direct".into(), [2, 128, 999, 999 * 64]),
            ("direct".into(), [3, 3 * 112, 0, 0]),
            ("direct".into(), [64, 64 * 96, 0, 0]),
        ],
        "{}",
        text(&output.stderr)
    );
    // Nobody asked.
    let (_, report) = run(folder.path(), &["run"], &[program.to_str().unwrap()]);
    assert!(leaks(&report).is_empty());
    let (output, report) = run(folder.path(), &["check", "--leaks=off"], &[program.to_str().unwrap()]);
    assert_eq!((output.status.code(), leaks(&report).len()), (Some(0), 0));
}

#[test]
fn a_leak_is_suppressed_by_files_of_other_tools_and_known_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "ways.c", WAYS, &["-g", "-O1", "-w", "-pthread"]);
    let program = program.to_str().unwrap();
    std::fs::write(folder.path().join("lsan"), "leak:lost_al\nleak:lost_below\nleak:^lost_ring$\n").unwrap();
    let valgrind =
        "{\nlists\nMemcheck:Leak\nmatch-leak-kinds: definite\nfun:calloc\nfun:lost_list\n...\nfun:main\n}\n";
    std::fs::write(folder.path().join("valgrind"), valgrind).unwrap();
    let verb = ["check", "--suppressions", "lsan", "--suppressions", "valgrind"];
    let (output, report) = run(folder.path(), &verb, &[program]);
    let new: Vec<&Value> =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["status"] == "new").collect();
    assert_eq!(new.len(), 1, "{}", text(&output.stderr));
    assert_eq!(new[0]["life"]["allocated"]["stack"][0]["function"], "lost_self");
    let verb = ["check", "--baseline", "known.json", "--update-baseline"];
    let (output, _) = run(folder.path(), &verb, &[program]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (output, _) = run(folder.path(), &["check", "--baseline", "known.json"], &[program]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// A child loses what it allocated itself; what it has from its parent is its parent's.
const CHILD: &str = r#"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) char *by_parent(void) { return malloc(50); }
__attribute__((noinline)) char *by_child(void) { return malloc(60); }
int main(void) {
    char *volatile block = by_parent();
    if (fork() == 0) {
        block = NULL;
        char *volatile own = by_child();
        own = NULL;
        exit(0);
    }
    wait(NULL);
    free(block);
    return 0;
}
"#;

#[test]
fn a_fork_child_answers_for_its_own_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "child.c", CHILD, &["-g", "-O1", "-w"]);
    let (output, report) = run(folder.path(), &["check"], &[program.to_str().unwrap()]);
    let told = leaks(&report);
    assert_eq!(told, [("by_child".into(), "direct".into(), [1, 60, 0, 0])], "{}", text(&output.stderr));
}

#[test]
fn under_a_bare_preload_a_leak_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "child.c", CHILD, &["-g", "-O1", "-w"]);
    let library = text(&succeed(heapkeeper().args(["lib"])).stdout);
    let mut plain = std::process::Command::new(program);
    plain.env("LD_PRELOAD", library.trim()).env("HEAPKEEPER", "guard=1/1,leaks=exit");
    let said = text(&succeed(&mut plain).stderr);
    assert!(
        said.contains("heapkeeper: leak (CWE-401): 60 bytes in 1 block that nothing points at"),
        "{said}"
    );
}

#[test]
fn what_odd_places_hold_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let source = include_str!("leaks/odd_places.c");
    let program = compile(folder.path(), "odd.c", source, &["-g", "-O1", "-w", "-pthread"]);
    let places = [
        "below a signal's stack",
        "below an array for signals",
        "below a thread's array for signals",
        "below a stack in the same mapping",
        "a register",
        "shared memory",
        "sealed memory",
        "after the first thread",
        "a small stack for signals",
        "a small stack for signals by a bare call",
        "a small stack of a coroutine",
        "pages of a file descriptor",
        "a huge reservation",
    ];
    for place in places {
        for verb in [&["check"][..], &["run", "--leaks"]] {
            let begin = std::time::Instant::now();
            let (output, report) = run(folder.path(), verb, &[program.to_str().unwrap(), place]);
            let said = format!("{place}: {}", text(&output.stderr));
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "well\n"), "{said}");
            assert!(leaks(&report).is_empty(), "{said}");
            assert!(begin.elapsed() < PATIENCE, "{said}");
        }
    }
}

#[test]
fn where_a_sandbox_forbids_a_call_that_a_scan_takes_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let source = include_str!("leaks/sandboxed.c");
    let program = compile(folder.path(), "sandboxed.c", source, &["-g", "-O1", "-w", "-pthread"]);
    let calls = [
        "gettid",
        "getpid",
        "rt_sigprocmask",
        "sigaltstack",
        "rt_sigaction of its signal",
        "futex to wake",
        "openat of folders",
    ];
    for call in calls.into_iter().chain(["nothing"]) {
        let (output, report) = run(folder.path(), &["run", "--leaks"], &[program.to_str().unwrap(), call]);
        let said = format!("{call}: {}", text(&output.stderr));
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "well\n"), "{said}");
        assert_eq!(leaks(&report).len(), usize::from(call == "nothing"), "{said}");
        assert_eq!(said.contains("a sandbox forbids it"), call != "nothing", "{said}");
    }
}

/// Ends at once, by exit or in a handler at exit; or one of its children does.
const AT_ONCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void at_once(void) { _exit(0); }
int main(int argc, char **argv) {
    const char *how = argv[1];
    char *volatile block = malloc(50);
    if (!strcmp(how, "_exit")) _exit(0);
    if (!strcmp(how, "_Exit")) _Exit(0);
    if (!strcmp(how, "handler")) atexit(at_once);
    if (!strcmp(how, "exec")) execl(argv[0], argv[0], "_exit", NULL);
    pid_t child = 0;
    if (!strcmp(how, "fork") && !(child = fork())) _exit(0);
    if (!strcmp(how, "vfork") && !(child = vfork())) _exit(0);
    if (!strcmp(how, "program") && !(child = vfork())) { execl(argv[0], argv[0], "_exit", NULL); _exit(1); }
    if (child) waitpid(child, NULL, 0);
    free(block);
    return 0;
}
"#;

#[test]
fn a_program_that_ends_at_once_says_that_no_leaks_were_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "once.c", AT_ONCE, &["-g", "-O1", "-w"]);
    let ways = ["_exit", "_Exit", "handler", "exec", "fork", "vfork", "program", "exit"];
    for (nth, way) in ways.into_iter().enumerate() {
        for verb in [&["check"][..], &["run", "--leaks"], &["run"]] {
            let (output, report) = run(folder.path(), verb, &[program.to_str().unwrap(), way]);
            let said = format!("{way}: {}", text(&output.stderr));
            assert_eq!((output.status.code(), leaks(&report).len()), (Some(0), 0), "{said}");
            let times = said.matches("no leaks were looked for: the program ended by _exit").count();
            assert_eq!(times, usize::from(nth < 4 && verb != ["run"]), "{said}");
        }
    }
}
