//! Guarded blocks in real programs: kernels without guard pages, few mappings, memory that runs short, hostile places, sites that are
//! watched after a finding.

mod common;

use common::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Case {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Case {
    fn new(source: &str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let program = compile(folder.path(), "case.c", source, &["-g", "-O1", "-w", "-pthread"]);
        Case { folder, program }
    }

    fn command(&self, verb: &[&str], before: &[&Path], args: &[&str]) -> Command {
        let command = heapkeeper();
        let mut words: Vec<std::ffi::OsString> = before.iter().map(|path| path.into()).collect();
        words.push(command.get_program().into());
        let mut whole = Command::new(&words[0]);
        whole.args(&words[1..]).args(verb);
        whole.env_remove("HEAPKEEPER").env_remove("LD_PRELOAD").env("TMPDIR", self.folder.path());
        // What these programs leave behind is not what they are about.
        whole.args(["--leaks=off", "--json", "out.json", "--"]).arg(&self.program).args(args);
        whole.current_dir(self.folder.path());
        whole
    }

    fn run(&self, verb: &[&str], args: &[&str]) -> Output {
        self.command(verb, &[], args).output().unwrap()
    }

    fn report(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.folder.path().join("out.json")).unwrap()).unwrap()
    }

    fn kinds(&self) -> Vec<String> {
        let report = self.report();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
    }
}

/// Refuses guard pages as kernels before Linux 6.13 do, and becomes its arguments.
const OLDER_KERNEL: &str = r#"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ADVICE(call, argument) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4), \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument])), \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 1, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 103, 0, 1), \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL)
int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ADVICE(SYS_madvise, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ADVICE(SYS_process_madvise, 3),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 120;
    execv(argv[1], argv + 1);
    return 121;
}
"#;

/// Uses a block after its free, if it has an argument.
const STALE: &str = r#"
#include <stdlib.h>
__attribute__((noinline)) char *alloc_site(void) { return malloc(24); }
__attribute__((noinline)) void free_site(char *block) { free(block); }
__attribute__((noinline)) void bug_site(volatile char *block) { *block = 1; }
int main(int argc, char **argv) {
    for (int i = 0; i < 1000; i++) { char *volatile other = malloc(i); free(other); }
    char *block = alloc_site();
    free_site(block);
    if (argc > 1) bug_site(block);
    return 0;
}
"#;

#[test]
fn on_a_kernel_without_guard_pages_mprotect_serves_and_the_start_line_says_so() {
    let case = Case::new(STALE);
    let older = compile(case.folder.path(), "older.c", OLDER_KERNEL, &["-O1", "-w"]);
    let output = case.command(&["check"], &[&older], &["bug"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(97), "{said}");
    let start = said.lines().next().unwrap();
    assert!(start.contains("mprotect"), "{said}");
    assert_eq!(case.kinds(), ["use-after-free"]);
    assert_eq!(case.report()["processes"][0]["guard_method"], "protection");
    let output = case.command(&["check"], &[&older], &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = case.run(&["check"], &["bug"]);
    assert!(!text(&output.stderr).lines().next().unwrap().contains("mprotect"));
    assert_eq!(case.report()["processes"][0]["guard_method"], "guard-pages");
}

/// Prints the most mappings that it had while it allocated, and freed some of, its argument's number of blocks.
const MANY: &str = r#"
#include <stdio.h>
#include <stdlib.h>
static long maps(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    long lines = 0;
    for (int c; (c = fgetc(file)) != EOF;) lines += c == '\n';
    fclose(file);
    return lines;
}
int main(int argc, char **argv) {
    long count = atol(argv[1]), most = 0;
    char **blocks = malloc(count * sizeof *blocks);
    for (long i = 0; i < count; i++) {
        blocks[i] = malloc(16 + i % 100);
        blocks[i][0] = 1;
        if (i % 3 == 0) { free(blocks[i / 2]); blocks[i / 2] = NULL; }
        if (i % (count / 8) == 0 && maps() > most) most = maps();
    }
    printf("%ld\n", most);
    for (long i = 0; i < count; i++) free(blocks[i]);
    return 0;
}
"#;

#[test]
fn a_hundred_thousand_guarded_blocks_are_a_handful_of_mappings() {
    let case = Case::new(MANY);
    let output = case.run(&["check"], &["100000"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let most: u64 = text(&output.stdout).trim().parse().unwrap();
    assert!(most < 100, "{most} mappings");
    assert!(case.report()["processes"][0]["guarded_blocks"].as_u64().unwrap() >= 100_000);
}

/// Bad accesses where a report must neither deadlock nor recurse: in a signal handler that interrupted malloc, in fork handlers, in a
/// library's constructor under dlopen, with a damaged frame pointer, on a small signal stack, in many threads at once.
const HOSTILE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
static char *stale(void) { char *block = malloc(40); free(block); return block; }
__attribute__((noinline)) void touch(volatile char *block) { *block = 1; }
static volatile sig_atomic_t handled;
static void on_alarm(int number) { if (handled++ < 50) touch(stale()); }
static void in_fork(void) { touch(stale()); }
static void *thread(void *arg) { for (int i = 0; i < 20; i++) touch(stale()); return arg; }
__attribute__((noinline)) void damaged(char *block) {
    __asm__ volatile("push %%rbp\n mov $0x1234567, %%rbp\n movb $1, (%0)\n pop %%rbp" : : "r"(block) : "memory");
}
static void on_user(int number) { touch(stale()); }
int main(int argc, char **argv) {
    if (strcmp(argv[1], "handler") == 0) {
        signal(SIGALRM, on_alarm);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 2000}, {0, 2000}}, NULL);
        while (handled < 50) { char *volatile block = malloc(100); free(block); }
    } else if (strcmp(argv[1], "fork") == 0) {
        pthread_atfork(in_fork, in_fork, in_fork);
        pid_t child = fork();
        if (child == 0) { touch(stale()); _exit(0); }
        waitpid(child, NULL, 0);
    } else if (strcmp(argv[1], "dlopen") == 0) {
        void *library = dlopen(argv[2], RTLD_NOW);
        if (!library) { puts(dlerror()); return 3; }
        dlclose(library);
    } else if (strcmp(argv[1], "damaged") == 0) {
        damaged(stale());
    } else if (strcmp(argv[1], "masked") == 0) {
        sigset_t all;
        sigfillset(&all);
        touch((sigblock(-1), stale()));
        touch((sigsetmask(0), sigsetmask(-1), stale()));
        touch((sigsetmask(0), sighold(SIGSEGV), stale()));
        touch((sigprocmask(SIG_SETMASK, &all, NULL), stale()));
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setsigmask_np(&attributes, &all);
        pthread_t id;
        pthread_create(&id, &attributes, thread, NULL);
        pthread_join(id, NULL);
        // In a handler that runs while the wait has a mask of its own.
        sigdelset(&all, SIGUSR1);
        signal(SIGUSR1, on_user);
        raise(SIGUSR1);
        int queue = epoll_create1(0);
        epoll_pwait2(queue, &(struct epoll_event){0}, 1, NULL, &all);
    } else if (strcmp(argv[1], "small-stack") == 0) {
        // Two frames of signals have to fit: some 4 KiB each with AVX-512.
        sigaltstack(&(stack_t){.ss_sp = malloc(16384), .ss_size = 16384}, NULL);
        sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_user, .sa_flags = SA_ONSTACK}, NULL);
        raise(SIGUSR1);
    } else {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, thread, NULL);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    }
    puts("went on");
    return 0;
}
"#;

const CONSTRUCTOR: &str = r#"
#include <stdlib.h>
static void touch(volatile char *block) { *block = 1; }
__attribute__((constructor)) static void start(void) { char *block = malloc(30); free(block); touch(block); }
"#;

#[test]
fn findings_in_hostile_places_are_told_and_the_program_goes_on() {
    let case = Case::new(HOSTILE);
    let library = case.folder.path().join("plugin.so");
    std::fs::write(case.folder.path().join("plugin.c"), CONSTRUCTOR).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.args(["-g", "-O1", "-w", "-shared", "-fPIC", "-o"]).arg(&library).arg("plugin.c");
    succeed(compiler.current_dir(case.folder.path()));
    let library = library.to_str().unwrap();
    for (place, counts) in [
        ("handler", 50..=50),
        ("fork", 4..=4),
        ("dlopen", 1..=1),
        ("damaged", 1..=1),
        ("masked", 25..=25),
        ("small-stack", 1..=1),
        ("threads", 160..=160),
    ] {
        let output = case.run(&["check"], &[place, library]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(97), "{place}: {said}");
        assert!(text(&output.stdout).ends_with("went on\n"), "{place}: {said}");
        let report = case.report();
        let calls = report["summary"]["bad_calls"].as_u64().unwrap();
        assert!(counts.contains(&calls), "{place}: {calls} bad accesses\n{said}");
        assert!(case.kinds().iter().all(|kind| kind == "use-after-free"), "{place}: {said}");
    }
}

const SYSTEM_ARGUMENTS: &str = include_str!("guards/system_arguments.c");

#[test]
fn what_is_handed_to_the_system_is_looked_at_and_the_call_works() {
    let case = Case::new(SYSTEM_ARGUMENTS);
    let sound = case.run(&["check"], &[]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stderr));
    let calls: u64 = text(&sound.stdout).split(' ').next().unwrap().parse().unwrap();
    assert!(calls > 40, "{calls}");
    let output = case.run(&["check"], &["freed"]);
    assert_eq!(output.status.code(), Some(97), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{calls} calls, 0 failed\n"));
    let report = case.report();
    let findings = report["findings"].as_array().unwrap();
    let by_the_system = |finding: &Value| {
        finding["kind"] == "use-after-free"
            && finding["call"] == "system-call"
            && functions(&finding["stack"])[0] == "main"
    };
    let told = findings.iter().filter(|finding| by_the_system(finding)).count() as u64;
    assert_eq!(told, calls, "{}", text(&output.stderr));
}

#[test]
fn arguments_that_the_system_does_not_look_at_may_be_anything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.c"), include_str!("guards/own_functions.c")).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.args(["-O1", "-fno-builtin", "-shared", "-fPIC", "-o", "libown.so", "own.c"]);
    succeed(compiler.current_dir(folder.path()));
    let here = folder.path().to_str().unwrap();
    let flags = ["-O1", "-w", "-Wl,--no-as-needed", "-L", here, "-lown", &format!("-Wl,-rpath,{here}")];
    let source = include_str!("guards/unused_arguments.c");
    let program = compile(folder.path(), "case.c", source, &flags);
    let plain = Command::new(&program).output().unwrap();
    let case = Case { folder, program };
    let output = case.run(&["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), text(&plain.stdout));
    assert_eq!(text(&output.stdout), "20.5\n");
}

/// Bugs of one site again and again; few blocks are guarded until one of them is met.
const AGAIN: &str = r#"
#include <stdlib.h>
__attribute__((noinline)) char *alloc_site(void) { return malloc(24); }
__attribute__((noinline)) char *other_site(void) { return malloc(24); }
__attribute__((noinline)) void bug_site(volatile char *block) { *block = 1; }
int main(void) {
    for (int i = 0; i < 20000; i++) {
        char *volatile other = other_site();
        free(other);
        char *block = alloc_site();
        free(block);
        bug_site(block);
    }
    return 0;
}
"#;

/// A program in a sandbox makes no call that plain malloc would not make, and is served; what it may not do is left out.
#[test]
fn programs_in_sandboxes_of_their_own_go_on() {
    let case = Case::new(include_str!("guards/sandboxed.c"));
    let verbs: [&[&str]; 4] =
        [&["run"], &["run", "--guard", "1/3"], &["check"], &["check", "--guard-batch", "64"]];
    let sandboxes = [
        ["kill", "prctl", "nothing"],
        ["kill", "syscall", "advise"],
        ["kill", "syscall", "protect"],
        ["refuse", "syscall", "nothing"],
        ["refuse", "prctl", "advise"],
        ["refuse", "prctl", "protect"],
        ["kill", "prctl", "strict"],
        ["kill", "syscall", "strict"],
    ];
    for sandbox in sandboxes {
        for verb in verbs {
            let is_check = verb[0] == "check";
            let output = case.run(verb, &sandbox);
            let said = format!("{verb:?} {sandbox:?}: {}", text(&output.stderr));
            assert_eq!(text(&output.stdout), "well\n", "{said}");
            // What a check could not guard it says.
            let expected: &[i32] = if is_check { &[0, 98] } else { &[0] };
            assert!(expected.contains(&output.status.code().unwrap_or(-1)), "{said}");
            assert!(case.kinds().is_empty(), "{said}");
            let with_bug: Vec<&str> = sandbox.iter().copied().chain(["bug"]).collect();
            let output = case.run(verb, &with_bug);
            let said = format!("{verb:?} {with_bug:?}: {}", text(&output.stderr));
            assert_eq!(text(&output.stdout), "well\n", "{said}");
            assert_eq!(case.kinds(), ["double-free"], "{said}");
        }
    }
}

#[test]
fn a_first_finding_of_a_sample_has_its_whole_site_guarded() {
    let case = Case::new(AGAIN);
    let output = case.run(&["run", "--guard", "1/500"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = case.report();
    assert_eq!(case.kinds(), ["use-after-free"]);
    let calls = report["summary"]["bad_calls"].as_u64().unwrap();
    // Of 20,000 bad accesses a sample meets some forty; 2,000 blocks of the site are guarded after the first.
    assert!((1500..=2500).contains(&calls), "{calls} bad accesses were met");
    let life = &report["findings"][0]["life"];
    assert!(functions(&life["allocated"]["stack"]).contains(&"alloc_site"));
}

#[test]
fn only_blocks_of_a_named_site_are_guarded() {
    let case = Case::new(AGAIN);
    let output = case.run(&["run", "--guard", "site:other_site"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(case.report()["processes"][0]["guarded_blocks"], 20_000);
    assert!(case.kinds().is_empty());
    case.run(&["run", "--guard", "site:alloc_site"], &[]);
    assert_eq!(case.report()["summary"]["bad_calls"], 20_000);
}

/// Fewer mallocs than those of a thread that are sampled by number alone.
const SAMPLED: &str = r#"
#include <stdlib.h>
int main(void) {
    for (long i = 0; i < 90000; i++) { char *volatile block = malloc(i % 200); free(block); }
    return 0;
}
"#;

/// A library with allocation sites, which another one is loaded beside later.
const LIBRARY: &str = r#"
#include <stdlib.h>
__attribute__((noinline)) char *order_new(void) { char *volatile block = malloc(24); return block; }
__attribute__((noinline)) char *other_new(void) { char *volatile block = malloc(24); return block; }
"#;
const LIBRARY_USER: &str = r#"
char *order_new(void);
char *other_new(void);
void free(void *);
int main(void) {
    for (int i = 0; i < 1000; i++) { free(order_new()); free(other_new()); }
    return 0;
}
"#;

#[test]
fn a_named_site_may_be_in_a_library() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders.c"), LIBRARY).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.args(["-g", "-O1", "-shared", "-fPIC", "-o", "liborders+1.so", "orders.c"]);
    succeed(compiler.current_dir(folder.path()));
    let here = folder.path().to_str().unwrap();
    let flags = ["-O1", "-Wl,--no-as-needed", "-L", here, "-l:liborders+1.so", &format!("-Wl,-rpath,{here}")];
    let program = compile(folder.path(), "case.c", LIBRARY_USER, &flags);
    let case = Case { folder, program };
    for site in ["site:order_new", "site:orders.c:3"] {
        let output = case.run(&["check", "--guard", site], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(case.report()["processes"][0]["guarded_blocks"], 1000, "{}", text(&output.stderr));
    }
}

#[test]
fn one_block_in_so_many_is_guarded() {
    let case = Case::new(SAMPLED);
    for every in [10, 100] {
        let output = case.run(&["run", "--guard", &format!("1/{every}")], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let guarded = case.report()["processes"][0]["guarded_blocks"].as_u64().unwrap();
        let expected = 90_000 / every;
        assert!((expected * 8 / 10..=expected * 12 / 10).contains(&guarded), "1/{every}: {guarded}");
    }
}

#[test]
fn memory_that_runs_short_thins_the_guards_and_says_so() {
    let case = Case::new(MANY);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total_kib: u64 = meminfo.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    if total_kib > 32 << 20 {
        println!(
            "skipped memory_that_runs_short: it would fill a fifth of this machine's memory; run it on one with at most 32 GiB"
        );
        return;
    }
    // An eighth of it, at 4 KiB a block.
    let blocks = total_kib / 8 / 4;
    let output = case.run(&["check"], &[&(blocks * 3 / 2).to_string()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(98), "{said}");
    assert!(said.contains("note: ") && said.contains("blind: "), "{said}");
    assert!(case.report()["processes"][0]["unguarded_blocks"].as_u64().unwrap() > blocks / 8, "{said}");
}
