//! Freed blocks are reused when no pointer to them is left, and not before.

mod common;

use common::tools::skip;
use common::*;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const MOVERS: &str = include_str!("quarantine/movers.c");

fn run(folder: &Path, settings: &str, program: &[&str]) -> (Output, Value) {
    let verb = ["run", "--guard=off", "--mode=quarantine"];
    run_for_report(folder, &verb, program, |command| _ = command.env("HEAPKEEPER", settings))
}

fn sweeps(report: &Value) -> &Value {
    let sweeps = &report["processes"][0]["sweeps"];
    assert!(sweeps.is_object(), "{report}");
    sweeps
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// As many sweeps as there can be.
const OFTEN: &str = "quarantine-mib=1,quarantine-percent=0";

fn movers(folder: &Path, engine: &str, ms: &str) -> (u64, Value) {
    let program = compile(folder, "movers.c", MOVERS, &["-O2", "-pthread", "-w"]);
    let settings = format!("{OFTEN},sweep={engine}");
    let (output, report) = run(folder, &settings, &[program.to_str().unwrap(), ms]);
    let said = text(&output.stdout);
    let reused = said.trim().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"));
    (reused, report)
}

/// Where the system does not track writes such sweeps are given up.
fn is_tracked(report: &Value) -> bool {
    let is_tracked = number(sweeps(report), "count") > 0;
    if !is_tracked {
        skip(
            "this kernel tells no writes by asynchronous write protection (Linux 6.7), or a sandbox forbids userfaultfd",
        );
    }
    is_tracked
}

#[test]
fn a_block_with_a_pointer_is_never_reused_while_the_program_stands_still() {
    let folder = tempfile::tempdir().unwrap();
    let (reused, report) = movers(folder.path(), "stopped", "2000");
    assert_eq!(reused, 0);
    assert!(number(sweeps(&report), "count") > 20, "{report}");
    assert!(number(sweeps(&report), "released_blocks") > 100_000, "{report}");
}

#[test]
fn nor_while_the_program_runs_and_moves_the_pointer() {
    let folder = tempfile::tempdir().unwrap();
    let (reused, report) = movers(folder.path(), "tracked", "4000");
    if is_tracked(&report) {
        assert_eq!(reused, 0);
        assert!(number(sweeps(&report), "released_blocks") > 100_000, "{report}");
    }
}

/// The same program finds out when what was written to is not looked at again.
#[test]
fn without_the_tracking_of_writes_it_would_be() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let (reused, report) = movers(folder.path(), "blind", "2000");
        if !is_tracked(&report) || reused > 0 {
            return;
        }
    }
    panic!("a sweep that is blind to writes was not found out");
}

/// Each line of output: what an attacker would have got, or `harmless`.
const EXPLOITS: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define OFTEN 400000
struct handler { void (*volatile call)(void); long id; char room[48]; };
struct text { char bytes[64]; };
static void evil(void) { puts("evil"); }
static void good(void) { puts("good"); }
static struct handler *stale, *shared;
static char *first, *second, *victim;
/* Allocates as an attacker does who wants the freed block. */
static void spray(void) {
    for (int i = 0; i < OFTEN; i++) {
        struct text *volatile text = malloc(sizeof *text);
        ((struct handler *)text)->call = evil;
        memset(text->bytes + 8, 'A', sizeof *text - 8);
        free(text);
    }
}
static void type_confusion(void) {
    stale = calloc(1, sizeof *stale);
    stale->call = good;
    free(stale);
    spray();
    struct text *volatile text = malloc(sizeof *text);
    ((struct handler *)text)->call = evil;
    puts(stale->call == evil ? "type confusion" : "harmless");
    free(text);
}
static void overlapping_blocks(void) {
    first = malloc(96);
    free(first);
    free(first);
    int overlap = 0;
    for (int i = 0; i < 100000; i++) {
        char *volatile one = malloc(96), *volatile other = malloc(96);
        overlap |= one == other || one == first || other == first;
        free(one);
        free(other);
    }
    puts(overlap ? "overlapping blocks" : "harmless");
}
static void free_of_a_stranger(void) {
    /* free, the block's next owner, and the first owner's second free. */
    victim = malloc(112);
    char *dangling = victim;
    free(victim);
    for (int i = 0; i < OFTEN; i++) {
        char *volatile block = malloc(112);
        if (block == dangling) { second = block; break; }
        free(block);
    }
    free(dangling);
    puts(second ? "freed a stranger's" : "harmless");
}
static void *use_later(void *argument) {
    (void)argument;
    while (!__atomic_load_n(&shared, __ATOMIC_ACQUIRE)) ;
    struct handler *mine = shared;
    spray();
    puts(mine->call == evil ? "stale pointer of another thread" : "harmless");
    return NULL;
}
static void across_threads(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, use_later, NULL);
    struct handler *block = calloc(1, sizeof *block);
    block->call = good;
    __atomic_store_n(&shared, block, __ATOMIC_RELEASE);
    free(block);
    spray();
    pthread_join(thread, NULL);
}
int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    type_confusion();
    overlapping_blocks();
    free_of_a_stranger();
    across_threads();
    return 0;
}
"#;

#[test]
fn exploits_end_harmlessly_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "exploits.c", EXPLOITS, &["-O1", "-g", "-pthread", "-w"]);
    for engine in ["stopped", "auto"] {
        let settings = format!("quarantine-mib=1,sweep={engine}");
        let (output, report) = run(folder.path(), &settings, &[program.to_str().unwrap()]);
        assert_eq!(text(&output.stdout), "harmless\nharmless\nharmless\nharmless\n");
        assert!(number(sweeps(&report), "count") > 3, "{report}");
        let findings = report["findings"].as_array().unwrap();
        let sites: Vec<&str> =
            findings.iter().filter(|finding| finding["kind"] == "double-free").map(site).collect();
        assert!(sites.contains(&"overlapping_blocks") && sites.contains(&"free_of_a_stranger"), "{sites:?}");
        assert_eq!(sites.len(), findings.len());
    }
    // The program does what it says where blocks are reused.
    let plain = Command::new(&program).output().unwrap();
    assert!(text(&plain.stdout).contains("type confusion"), "{}", text(&plain.stdout));
}

fn site(finding: &Value) -> &str {
    functions(&finding["stack"]).first().copied().unwrap_or("?")
}

/// Frees gigabytes, in one thread or many; prints nothing.
const FREES: &str = r#"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static void *work(void *argument) {
    size_t left = (size_t)argument << 20;
    unsigned state = 1;
    static __thread void *kept[256];
    while (left > (1 << 16)) {
        state = state * 1103515245 + 12345;
        size_t bytes = 16 + (state >> 8) % (state % 64 ? 1000 : 100000);
        unsigned at = (state >> 4) % 256;
        free(kept[at]);
        kept[at] = malloc(bytes);
        memset(kept[at], 1, bytes);
        left -= bytes < left ? bytes : left;
    }
    for (int at = 0; at < 256; at++) free(kept[at]);
    return NULL;
}
int main(int count, char **arguments) {
    int threads = atoi(arguments[1]);
    pthread_t list[16];
    for (int i = 0; i < threads; i++) pthread_create(&list[i], NULL, work, (void *)(size_t)atoi(arguments[2]));
    for (int i = 0; i < threads; i++) pthread_join(list[i], NULL);
    return 0;
}
"#;

#[test]
fn memory_stays_bounded_however_much_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "frees.c", FREES, &["-O2", "-pthread"]);
    for engine in ["stopped", "tracked", "auto"] {
        for threads in ["1", "4"] {
            let settings = format!("sweep={engine}");
            let (_, report) = run(folder.path(), &settings, &[program.to_str().unwrap(), threads, "400"]);
            if engine != "tracked" || is_tracked(&report) {
                let peak = number(&report["summary"]["resident_peak_bytes"], "value");
                assert!(peak < 192 << 20, "{engine}, {threads} threads: {peak}, {report}");
                assert_eq!(report["findings"].as_array().unwrap().len(), 0);
            }
        }
    }
}

/// Forks while threads free, by libc and by the bare call; children free too, and each frees a block of its parent's twice.
const FORKS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int over;
static void churn(int count) {
    static __thread void *kept[64];
    for (int i = 0; i < count; i++) { free(kept[i % 64]); kept[i % 64] = malloc(100 + i % 900); memset(kept[i % 64], 1, 100); }
}
static void *work(void *argument) { while (!over) churn(1000); return argument; }
static char *shared;
int main(int count, char **arguments) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, NULL);
    int bad = 0;
    for (int i = 0; i < atoi(arguments[1]); i++) {
        shared = malloc(50);
        free(shared);
        pid_t child = i % 2 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            churn(20000);
            free(shared);
            _exit(7);
        }
        int status;
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7) bad++;
    }
    over = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("bad %d\n", bad);
    return bad != 0;
}
"#;

#[test]
fn fork_children_have_a_quarantine_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "forks.c", FORKS, &["-O2", "-g", "-pthread", "-w"]);
    for engine in ["stopped", "tracked"] {
        let settings = format!("{OFTEN},sweep={engine}");
        let (output, report) = run(folder.path(), &settings, &[program.to_str().unwrap(), "30"]);
        assert_eq!(text(&output.stdout), "bad 0\n", "{engine}");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((number(&findings[0], "repeats"), &findings[0]["kind"]), (30, &"double-free".into()));
    }
}

/// A thread that can't be stopped: it blocks all signals by a system call of its own.
const DEAF: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile int over, is_deaf;
static void *deaf(void *argument) {
    unsigned long all = ~0ul;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    is_deaf = 1;
    while (!over) usleep(1000);
    return argument;
}
static void churn(void) {
    for (int i = 0; i < 30000; i++) { void *volatile block = malloc(1000); memset(block, 1, 1000); free(block); }
}
int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, deaf, NULL);
    while (!is_deaf) ;
    churn();
    over = 1;
    pthread_join(thread, NULL);
    for (int i = 0; i < 20; i++) churn();
    return 0;
}
"#;

#[test]
fn a_thread_that_cannot_be_stopped_costs_memory_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "deaf.c", DEAF, &["-O2", "-pthread"]);
    let (output, report) = run(folder.path(), "quarantine-mib=1", &[program.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(number(sweeps(&report), "dropped") > 0, "{report}");
    assert!(number(sweeps(&report), "count") > 0, "swept when it had ended: {report}");
    assert_eq!(report["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn what_cannot_be_looked_through_is_released_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "frees.c", FREES, &["-O2", "-pthread"]);
    let (output, report) = run(folder.path(), "sweep=relaxed", &[program.to_str().unwrap(), "2", "400"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("mode quarantine (relaxed: "), "{}", text(&output.stderr));
    assert!(number(sweeps(&report), "released_blocks") > 100_000, "{report}");
    let peak = number(&report["summary"]["resident_peak_bytes"], "value");
    assert!(peak < 128 << 20, "{peak}");
}

/// What points to a freed block at the end is told, by its name.
const DANGLES: &str = r#"
#include <stdlib.h>
struct session { char name[32]; };
struct conn { int fd; struct session *session; };
struct conn *conn_table[16];
int main(void) {
    for (int i = 0; i < 16; i++) {
        conn_table[i] = calloc(1, sizeof **conn_table);
        conn_table[i]->session = calloc(1, sizeof(struct session));
    }
    free(conn_table[3]->session);
    return 0;
}
"#;

#[test]
fn the_end_of_a_run_tells_who_points_to_freed_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "dangles.c", DANGLES, &["-g", "-O0"]);
    let (output, _) = run(folder.path(), "", &[program.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert!(said.contains(" to 1 freed block remained, which nothing has used yet:"), "{said}");
    assert!(said.contains(": likely in conn_table[3]->session"), "{said}");
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("hksnap")), "{left:?}");
}

/// Sweeps fail, as there is no descriptor to be had, and go well, by turns.
const FAILURES: &str = r#"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
static unsigned char *kept[1000];
static int wrong;
static void churn(int blocks) {
    for (int i = 0; i < blocks; i++) {
        int at = i * 7 % 1000;
        if (kept[at]) for (int j = 0; j < 1000; j += 111) wrong += kept[at][j] != (at & 0xFF);
        free(kept[at]);
        kept[at] = malloc(1000);
        memset(kept[at], at & 0xFF, 1000);
    }
}
int main(int count, char **arguments) {
    struct rlimit all, none;
    getrlimit(RLIMIT_NOFILE, &all);
    none = all;
    none.rlim_cur = 0;
    for (int i = 0; i < atoi(arguments[1]); i++) {
        setrlimit(RLIMIT_NOFILE, &none);
        churn(2500);
        setrlimit(RLIMIT_NOFILE, &all);
        churn(5000);
    }
    printf("wrong %d\n", wrong);
    return 0;
}
"#;

#[test]
fn ten_thousand_sweeps_that_fail_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), "failures.c", FAILURES, &["-O2"]);
    let settings = format!("{OFTEN},sweep=stopped");
    let (output, report) = run(folder.path(), &settings, &[program.to_str().unwrap(), "11000"]);
    assert_eq!(text(&output.stdout), "wrong 0\n");
    assert!(number(sweeps(&report), "dropped") >= 10_000, "{report}");
    assert!(number(sweeps(&report), "count") >= 5_000, "{report}");
    let peak = number(&report["summary"]["resident_peak_bytes"], "value");
    assert!(peak < 64 << 20, "{peak}");
    assert_eq!(
        number(&report["processes"][0]["figures"]["live_blocks"], "value"),
        1001,
        "and a buffer of printf's"
    );
}
