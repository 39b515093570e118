//! Live processes are reached through their recordings, and make snapshots of themselves that they do not notice.

mod common;

use common::asker::Asker;
use common::program::{Program, compile_live};
use common::snapshot::Snapshot;
use common::*;
use hk_format::{Control, Refusal, RequestState, RequestVerb, RequestWord, RootKind};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[track_caller]
fn refused(output: &Output, code: i32, part: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.lines().count() == 1 && said.contains(part), "{said}");
}

/// Structures that are reached in each way.
const KNOWN: &str = r#"
static struct node *volatile list, *volatile array[2];
static __thread struct node *volatile ring;
static void *volatile dangling, *volatile inside;
static int never[2];
SITE struct node *make(size_t bytes) { return calloc(1, bytes); }
static void *wait_with(void *block) {
    void *volatile on_stack = make(500);
    TELL("on_stack %lu\nplace_on_stack %lu\ntid %d\n", (uintptr_t)on_stack, (uintptr_t)&on_stack, gettid());
    register void *kept __asm__("r12") = make(600);
    TELL("in_register %lu\n", (uintptr_t)kept);
    long answer;
    char byte;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(SYS_read), "D"(never[0]), "S"(&byte), "d"(1), "r"(kept)
                     : "rcx", "r11", "memory");
    return on_stack;
}
int main(void) {
    pipe(never);
    for (int i = 0; i < 10; i++) { struct node *n = make(sizeof *n); n->next = list; list = n; }
    struct node *of_ring[3];
    for (int i = 0; i < 3; i++) of_ring[i] = make(300);
    for (int i = 0; i < 3; i++) of_ring[i]->next = of_ring[(i + 1) % 3];
    ring = of_ring[0];
    memset(of_ring, 0, sizeof of_ring);
    dangling = make(3000);
    array[1] = make(5000);
    ((void *volatile *)array[1])[600] = dangling;
    inside = (char *)make(900) + 800;
    void *volatile *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *mapped = make(700);
    void *volatile *shared = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[3000] = make(800);
    pthread_t thread;
    pthread_create(&thread, NULL, wait_with, NULL);
    pthread_setname_np(thread, "waiter");
    sleep(1);
    TELL("list %lu\nlist_at %lu\nring %lu\nring_at %lu\n", (uintptr_t)list, (uintptr_t)&list, (uintptr_t)ring, (uintptr_t)&ring);
    TELL("dangling %lu\ndangling_at %lu\n", (uintptr_t)dangling, (uintptr_t)&dangling);
    TELL("holder %lu\nholder_at %lu\n", (uintptr_t)array[1], (uintptr_t)&array[1]);
    TELL("inside %lu\ninside_at %lu\n", (uintptr_t)inside - 800, (uintptr_t)&inside);
    TELL("mapped %lu\nmapped_at %lu\n", (uintptr_t)*mapped, (uintptr_t)mapped);
    TELL("shared %lu\nshared_at %lu\n", (uintptr_t)shared[3000], (uintptr_t)&shared[3000]);
    free((void *)dangling);
    TELL("ready\n");
    while (serve()) {}
    return 0;
}
"#;

/// Runs it so guarded, and checks all that is known of it.
fn known_structures(guard: &str) -> (Snapshot, BTreeMap<String, u64>) {
    let folder = tempfile::tempdir().unwrap();
    let program = compile_live(folder.path(), "known", KNOWN);
    let mut program = Program::start(folder.path(), &["--guard", guard], &[&program]);
    let at = program.numbers();
    let found = program.snapshot();
    let (main, waiter) = (program.pid, at["tid"] as u32);
    assert_eq!((found.header.pid, found.header.mode), (main, 0));
    assert!(found.header.stop_ns > 1000 && found.header.start_ns < found.header.time_ns);

    // A list from static data, to its end.
    assert_eq!(found.root_at(RootKind::Data, at["list_at"]), Some((at["list"], 0, false)));
    let (mut node, mut length) = (at["list"], 1);
    while let [(word, next, is_freed)] = found.pointers(node)[..] {
        assert_eq!((word, is_freed), (0, false));
        (node, length) = (next, length + 1);
    }
    assert_eq!((length, found.pointers(node).len()), (10, 0));
    // A ring from the thread's own data.
    assert_eq!(found.root_at(RootKind::Other, at["ring_at"]), Some((at["ring"], 0, false)));
    let next = |block| found.pointers(block)[0].1;
    let second = next(at["ring"]);
    assert!(second != at["ring"] && next(second) != second);
    assert_eq!(next(next(second)), at["ring"]);
    // A thread's stack and register.
    let on_stack = found.root_at(RootKind::Stack, at["place_on_stack"]);
    assert_eq!(on_stack, Some((at["on_stack"], waiter, false)));
    let of_waiter =
        |root: &&hk_format::RootRecord| root.tid == waiter && root.kind == RootKind::Register as u32;
    let in_registers = found.roots.iter().filter(of_waiter);
    let in_r12: Vec<u64> = in_registers.filter(|root| root.place == 12).map(|root| root.target).collect();
    assert_eq!(in_r12, [at["in_register"]]);
    // Inside of a block, in mappings, private and shared.
    assert_eq!(found.root_at(RootKind::Data, at["inside_at"]), Some((at["inside"], 0, false)));
    assert_eq!(found.root_at(RootKind::Other, at["mapped_at"]), Some((at["mapped"], 0, false)));
    assert_eq!(found.root_at(RootKind::Other, at["shared_at"]), Some((at["shared"], 0, false)));
    // A free block that is still pointed at, from static data and from a block.
    assert_eq!(found.root_at(RootKind::Data, at["dangling_at"]), Some((at["dangling"], 0, true)));
    assert_eq!(found.pointers(at["holder"]), [(600, at["dangling"], true)]);
    assert!(!found.blocks.contains_key(&at["dangling"]));
    assert_eq!(found.freed.iter().filter(|freed| freed.start == at["dangling"]).count(), 1);
    // Threads and modules.
    let names: BTreeMap<u32, &[u8]> =
        found.threads.iter().map(|thread| (thread.tid, &thread.name[..])).collect();
    assert_eq!(names.len(), 2);
    assert!(names[&main].starts_with(b"known\0") && names[&waiter].starts_with(b"waiter\0"));
    let module =
        found.modules.iter().find(|(_, path)| path.ends_with("/known")).expect("the program is there");
    assert!((module.0.start..module.0.end).contains(&at["list_at"]) && module.0.build_id_len == 20);
    assert!(found.mappings.iter().any(|mapping| (mapping.start..mapping.end).contains(&at["list_at"])));
    assert!(!found.mappings.iter().any(|mapping| (mapping.start..mapping.end).contains(&at["list"])));
    assert_eq!(program.end(), "");
    (found, at)
}

#[test]
fn known_structures_are_found_as_they_are() {
    let (found, at) = known_structures("off");
    assert_eq!((found.header.every, found.lives.len(), found.stacks.len()), (0, 0, 0));
    let dangling = found.freed.iter().find(|freed| freed.start == at["dangling"]).unwrap();
    assert!(dangling.bytes >= 3000);
    assert_eq!((dangling.requested_bytes, dangling.allocated_stack), (0, 0));
}

#[test]
fn of_guarded_blocks_their_lives_are_known() {
    let (found, at) = known_structures("1/1");
    assert_eq!(found.header.every, 1);
    let life = found.lives.iter().find(|life| life.start == at["in_register"]).unwrap();
    assert_eq!((life.requested_bytes, u64::from(life.tid)), (600, at["tid"]));
    let dangling = found.freed.iter().find(|freed| freed.start == at["dangling"]).unwrap();
    assert_eq!(dangling.requested_bytes, 3000);
    assert!(dangling.allocated_ns < dangling.freed_ns && dangling.freed_ns < found.header.time_ns);
    let module = &found.modules.iter().find(|(_, path)| path.ends_with("/known")).unwrap().0;
    for stack in [life.stack, dangling.allocated_stack, dangling.freed_stack] {
        let frames = &found.stacks[&stack];
        assert!((module.start..module.end).contains(&frames[0]), "{frames:x?}");
    }
    let named = found
        .lives
        .iter()
        .map(|life| life.stack)
        .chain(found.freed.iter().flat_map(|freed| [freed.allocated_stack, freed.freed_stack]));
    let named: std::collections::BTreeSet<u32> = named.filter(|&stack| stack != 0).collect();
    assert!(named.into_iter().eq(found.stacks.keys().copied()));
}

/// Much is to be told, so that an image that nobody reads is there for some time.
const LARGE: &str = r#"
static struct node *volatile list;
static volatile int children;
static void on_child(int signal) { children++; }
int main(void) {
    signal(SIGCHLD, on_child);
    for (int i = 0; i < 100000; i++) { struct node *n = calloc(1, sizeof *n); n->next = list; list = n; }
    int ends[2];
    pipe(ends);
    TELL("ready\n");
    serve();
    close(ends[1]);
    struct pollfd end = { ends[0], 0, 0 };
    int ready = poll(&end, 1, 0);
    TELL("pipe %d %s\n", ready, end.revents & POLLHUP ? "ended" : "open");
    errno = 0;
    pid_t found = waitpid(-1, NULL, WNOHANG);
    TELL("wait %d %s\n", found, errno == ECHILD ? "ECHILD" : "?");
    pid_t own = fork();
    if (own == 0) _exit(7);
    int status = 0;
    found = wait(&status);
    TELL("child %d %d %d\n", found == own, WEXITSTATUS(status), children);
    for (int i = 0; i < 100000; i++) { struct node *n = calloc(1, sizeof *n); n->next = list; list = n; }
    if (serve()) {
        TELL("exec\n");
        execlp("sleep", "sleep", "1000", NULL);
    }
    return 0;
}
"#;

fn large(folder: &Path) -> Program {
    let program = compile_live(folder, "large", LARGE);
    let mut program = Program::start(folder, &["--guard", "off"], &[&program]);
    assert_eq!(program.line(), "ready");
    program
}

#[test]
fn the_program_does_not_notice_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = large(folder.path());
    let asker = Asker::new(folder.path(), program.pid);
    asker.ask();
    asker.wait_until_full();
    let image = program.images();
    assert_eq!(image.len(), 1);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", image[0])).unwrap().flatten();
    let beside_proc = |target: &PathBuf| !target.starts_with("/proc");
    let held = descriptors.filter_map(|fd| std::fs::read_link(fd.path()).ok()).filter(beside_proc);
    assert_eq!(held.count(), 0);
    program.tell("go");
    assert_eq!(program.line(), "pipe 1 ended");
    assert_eq!(program.line(), "wait -1 ECHILD");
    assert_eq!(program.line(), "child 1 7 1");
    // It is the moment at which it was asked for, whatever the program did since.
    let found = Snapshot::parse(&asker.read());
    assert!((100_000..100_100).contains(&found.blocks.len()), "{}", found.blocks.len());
    wait_until("the image was waited for", || program.images().is_empty());
    assert_eq!(program.end(), "");
}

/// Waits for children of any kind, in each way.
const WAITING: &str = r#"
static struct node *volatile list;
static const char *how;
static pid_t wait_for(pid_t child, int *status, int flags) {
    siginfo_t info = {0};
    flags |= __WALL;
    if (!strcmp(how, "waitpid")) return waitpid(child, status, flags);
    if (!strcmp(how, "wait4")) return wait4(child, status, flags, NULL);
    idtype_t kind = child == -1 ? P_ALL : P_PID;
    id_t id = child == -1 ? 0 : child;
    if (!strcmp(how, "waitid with WNOWAIT") && waitid(kind, id, &info, WEXITED | WNOWAIT | flags)) return -1;
    pid_t seen = info.si_pid;
    if (waitid(kind, id, &info, WEXITED | flags)) return -1;
    if (seen && seen != info.si_pid) return -2;
    if (info.si_pid) *status = info.si_status << 8;
    return info.si_pid;
}
static void tell(const char *what, pid_t child, int flags) {
    int status = 0;
    errno = 0;
    pid_t came = wait_for(child, &status, flags);
    TELL("%s %d %d %s\n", what, came > 0 ? 1 : came, WEXITSTATUS(status), errno == ECHILD ? "ECHILD" : "-");
}
/* A number, without allocating. */
static pid_t hear(void) {
    pid_t number = 0;
    TELL("waits\n");
    for (char c = 0; c != '\n' || !number;) {
        if (read(0, &c, 1) != 1) _exit(1);
        if (c >= '0' && c <= '9') number = number * 10 + c - '0';
    }
    return number;
}
int main(int argc, char **argv) {
    how = argv[1];
    for (int i = 0; i < 100000; i++) { struct node *n = calloc(1, sizeof *n); n->next = list; list = n; }
    TELL("ready\n");
    serve();
    pid_t image = hear();
    tell("running", -1, WNOHANG);
    tell("itself", image, 0);
    hear();
    pid_t own = fork();
    if (own == 0) _exit(7);
    siginfo_t info;
    waitid(P_PID, own, &info, WEXITED | WNOWAIT);
    tell("own", -1, 0);
    tell("none", -1, WNOHANG);
    tell("none", -1, 0);
    return 0;
}
"#;

#[test]
fn who_waits_for_children_of_any_kind_does_not_see_the_image() {
    for how in ["waitpid", "wait4", "waitid", "waitid with WNOWAIT"] {
        let folder = tempfile::tempdir().unwrap();
        let program = compile_live(folder.path(), "waiting", WAITING);
        let mut program = Program::start(folder.path(), &["--guard", "off"], &[&program, how]);
        assert_eq!(program.line(), "ready");
        let asker = Asker::new(folder.path(), program.pid);
        asker.ask();
        asker.wait_until_full();
        program.tell("go");
        assert_eq!(program.line(), "waits");
        let image = program.images()[0];
        program.tell(&image.to_string());
        assert_eq!([program.line(), program.line()], ["running 0 0 -", "itself -1 0 ECHILD"], "{how}");
        assert_eq!(program.line(), "waits");
        kill("KILL", image);
        let stat = || std::fs::read_to_string(format!("/proc/{image}/stat")).unwrap();
        wait_until("it has ended", || stat().contains(") Z "));
        program.tell("1");
        let lines = [program.line(), program.line(), program.line()];
        assert_eq!(lines, ["own 1 7 -", "none -1 0 ECHILD", "none -1 0 ECHILD"], "{how}");
        assert_eq!(program.end(), "");
    }
}

#[test]
fn an_image_that_nobody_reads_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let program = large(folder.path());
    let asker = Asker::new(folder.path(), program.pid);
    asker.ask();
    asker.wait_until_full();
    wait_until("it gives up", || asker.word().state() == Some(RequestState::Refused));
    assert_eq!(Refusal::from_u32(asker.get(offset_of!(Control, reason))), Some(Refusal::NoReader));
    wait_until("the image was waited for", || program.images().is_empty());
    program.snapshot();
}

/// A pipe of a name, open for reading, that nobody reads yet.
fn unread_pipe(folder: &Path) -> (PathBuf, std::fs::File) {
    let path = folder.join("pipe");
    succeed(Command::new("mkfifo").arg(&path));
    // For writing too, so that it need not wait for a writer.
    let reader = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    (path, reader)
}

/// A command that takes a snapshot which nobody reads, when the image can't go on.
fn stuck_snap(program: &Program, pipe: &Path) -> Child {
    let snap = program.snap(program.pid, pipe).spawn().unwrap();
    Asker::new(&program.folder, program.pid).wait_until_full();
    snap
}

/// Reads the pipe, and waits until the command has ended.
fn drain(mut snap: Child, mut pipe: std::fs::File) -> Output {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while pipe.read(&mut buffer).is_ok_and(|len| len > 0) {}
    });
    let mut stderr = Vec::new();
    snap.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    let status = snap.wait().unwrap();
    Output { status, stdout: Vec::new(), stderr }
}

#[test]
fn one_command_at_a_time_asks() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = large(folder.path());
    let (pipe, reader) = unread_pipe(folder.path());
    let first = stuck_snap(&program, &pipe);
    let other = folder.path().join("other");
    let second = program.snap(program.pid, &other).output().unwrap();
    refused(&second, 125, &format!("is busy: heapkeeper, process {}, is asking it", first.id()));
    assert!(!other.exists());
    let first = drain(first, reader);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!((100_000..100_100).contains(&program.snapshot().blocks.len()));
    program.tell("go");
}

#[test]
fn a_dead_command_is_taken_over_and_an_interrupted_one_withdraws() {
    let folder = tempfile::tempdir().unwrap();
    let program = large(folder.path());
    let (pipe, _reader) = unread_pipe(folder.path());
    let mut first = stuck_snap(&program, &pipe);
    let image = program.images();
    first.kill().unwrap();
    first.wait().unwrap();
    program.snapshot();
    wait_until("the first image has gone", || !program.images().contains(&image[0]));

    // One that waits for a program that is stopped.
    kill("STOP", program.pid);
    let second = program.snap(program.pid, &folder.path().join("second")).spawn().unwrap();
    let asker = Asker::new(folder.path(), program.pid);
    wait_until("it is asked", || asker.word().state() == Some(RequestState::Asked));
    kill("INT", second.id());
    refused(&second.wait_with_output().unwrap(), 130, "interrupted by SIGINT");
    assert_eq!(asker.word(), RequestWord::NONE);
    kill("CONT", program.pid);
    assert!(!folder.path().join("second").exists());
    program.snapshot();
}

#[test]
fn a_killed_image_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = large(folder.path());
    let (pipe, reader) = unread_pipe(folder.path());
    let snap = stuck_snap(&program, &pipe);
    kill("KILL", program.images()[0]);
    wait_until("the image was waited for", || program.images().is_empty());
    refused(&drain(snap, reader), 125, "the image that wrote it was killed, perhaps as memory ran short");
    program.snapshot();
}

#[test]
fn a_process_that_ends_or_becomes_another_takes_its_image_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = large(folder.path());
    let (pipe, reader) = unread_pipe(folder.path());
    let snap = stuck_snap(&program, &pipe);
    program.tell("go");
    (0..3).for_each(|_| drop(program.line()));
    program.tell("go on");
    assert_eq!(program.line(), "exec");
    refused(&drain(snap, reader), 125, "the program has ended, or became another one");
    assert!(program.images().is_empty());
    drop(program);

    let folder = tempfile::tempdir().unwrap();
    let program = large(folder.path());
    let (pipe, reader) = unread_pipe(folder.path());
    let snap = stuck_snap(&program, &pipe);
    kill("KILL", program.pid);
    let output = drain(snap, reader);
    let said = text(&output.stderr);
    assert!(said.contains("has ended"), "{said}");
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn nonsense_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = large(folder.path());
    let asker = Asker::new(folder.path(), program.pid);
    let refuses = |word: RequestWord, pid: u32, reason: Refusal| {
        asker.put(offset_of!(Control, pid), pid);
        asker.put(offset_of!(Control, reason), 0);
        asker.set_word(word);
        wait_until("it is refused", || asker.word() == word.with(RequestState::Refused));
        assert_eq!(Refusal::from_u32(asker.get(offset_of!(Control, reason))), Some(reason));
        assert!(program.images().is_empty());
    };
    let word = RequestWord::new(RequestVerb::Snapshot, asker.index, 5);
    refuses(word, asker.pid + 1, Refusal::OtherProcess);
    refuses(RequestWord(word.0 ^ 0x30 << 4), asker.pid, Refusal::UnknownVerb);
    refuses(RequestWord::new(RequestVerb::Snapshot, 0xF_FFFF, 5), asker.pid, Refusal::Malformed);
    refuses(RequestWord::new(RequestVerb::Snapshot, asker.index, 0), asker.pid, Refusal::Malformed);
    refuses(RequestWord(word.0 | 0xF), asker.pid, Refusal::Malformed);
    refuses(RequestWord(u64::MAX), u32::MAX, Refusal::Malformed);
    // A reader that counts wrongly is none.
    asker.ask();
    asker.wait_until_full();
    asker.put(offset_of!(Control, read), 0x8000_0000);
    wait_until("it is given up", || asker.word().state() == Some(RequestState::Refused));
    assert_eq!(Refusal::from_u32(asker.get(offset_of!(Control, reason))), Some(Refusal::NoReader));
    program.snapshot();
    program.tell("go");
    assert_eq!(program.line(), "pipe 1 ended");
}

#[test]
fn a_fork_child_is_reached_by_its_own_id() {
    let folder = tempfile::tempdir().unwrap();
    let source = r#"
        static void *volatile mine;
        int main(void) {
            mine = calloc(1, 1000);
            int child = fork();
            if (child == 0) {
                mine = calloc(1, 2000);
                TELL("child %d\nmine %lu\nat %lu\nready\n", getpid(), (uintptr_t)mine, (uintptr_t)&mine);
            }
            serve();
            if (child) { kill(child, SIGTERM); wait(NULL); }
            return 0;
        }"#;
    let program = compile_live(folder.path(), "forks", source);
    let mut program = Program::start(folder.path(), &["--guard", "off"], &[&program]);
    let at = program.numbers();
    let child = at["child"] as u32;
    let to = folder.path().join("child.hks");
    succeed(&mut program.snap(child, &to));
    let found = Snapshot::parse(&std::fs::read(&to).unwrap());
    assert_eq!(found.header.pid, child);
    assert_eq!(found.root_at(RootKind::Data, at["at"]), Some((at["mine"], 0, false)));
    let of_parent = program.snapshot();
    assert_eq!(of_parent.header.pid, program.pid);
    assert_ne!(of_parent.root_at(RootKind::Data, at["at"]).unwrap().0, at["mine"]);
    let listed = text(&succeed(heapkeeper().arg("ps")).stdout);
    for pid in [program.pid, child] {
        let line = listed.lines().find(|line| line.trim_start().starts_with(&format!("{pid} ")));
        let line = line.unwrap_or_else(|| panic!("{pid}: {listed}"));
        assert!(line.contains(" forks ") && line.contains(" manual ") && line.contains(" off "), "{line}");
        assert!(line.contains(".hkrec"), "{line}");
    }
    kill("TERM", child);
}

/// Threads in calls that a signal would interrupt, and threads that allocate.
const BUSY: &str = r#"
static volatile int ends;
static long interrupted, bad;
static unsigned room[16];
static void check(int is_right, int error) {
    if (error == EINTR) __sync_fetch_and_add(&interrupted, 1);
    else if (!is_right) __sync_fetch_and_add(&bad, 1);
}
static void *allocate(void *seed) {
    unsigned long random = (unsigned long)seed * 2654435761u + 1;
    void *kept[200] = { 0 };
    while (!ends) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int at = (random >> 33) % 200;
        free(kept[at]);
        kept[at] = malloc((random >> 45) % 3000);
        if (kept[at]) memset(kept[at], at, 1);
        if (random >> 56 == 0) { struct timespec p = { 0, 2000000 }; check(nanosleep(&p, NULL) == 0, errno == EINTR ? EINTR : 0); errno = 0; }
    }
    for (int i = 0; i < 200; i++) free(kept[i]);
    return NULL;
}
/* As glibc has it, with the call's number in the instruction before it. */
static long wait_for(int *word, long value, struct timespec *pause) {
    register long timeout __asm__("r10") = (long)pause;
    long answer;
    __asm__ volatile("movl $202, %%eax\n\tsyscall" : "=&a"(answer) : "D"(word), "S"(0L), "d"(value), "r"(timeout)
                     : "rcx", "r11", "memory");
    return answer;
}
static void *waits(void *which) {
    int set = semget(IPC_PRIVATE, 1, 0600), epoll = epoll_create1(0), word = 7;
    while (!ends) {
        errno = 0;
        struct timespec pause = { 0, 30000000 };
        struct sembuf down = { 0, -1, 0 };
        switch ((long)which) {
        case 0: check(poll(NULL, 0, 30) == 0, errno); break;
        case 1: { struct epoll_event e; check(epoll_wait(epoll, &e, 1, 30) == 0, errno); break; }
        case 2: check(nanosleep(&pause, NULL) == 0, errno); break;
        case 3: { int r = semtimedop(set, &down, 1, &pause); check(r == -1 && errno == EAGAIN, errno == EAGAIN ? 0 : errno); break; }
        case 4: { long r = wait_for(&word, 7, &pause); check(r == -ETIMEDOUT, r == -EINTR ? EINTR : 0); break; }
        case 5: { long r = syscall(SYS_futex, &word, FUTEX_WAIT, 7, &pause, NULL, 0); check(r == -1 && errno == ETIMEDOUT, errno == EINTR ? EINTR : 0); break; }
        }
    }
    semctl(set, 0, IPC_RMID);
    return NULL;
}
int main(void) {
    pthread_t threads[16];
    for (long i = 0; i < 10; i++) pthread_create(&threads[i], NULL, allocate, (void *)(i + 1));
    for (long i = 0; i < 6; i++) pthread_create(&threads[10 + i], NULL, waits, (void *)i);
    TELL("ready\n");
    while (serve()) {}
    ends = 1;
    for (int i = 0; i < 16; i++) pthread_join(threads[i], NULL);
    TELL("interrupted %ld bad %ld\n", interrupted, bad);
    return 0;
}
"#;

#[test]
fn sixteen_busy_threads_are_not_disturbed_by_fifty_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile_live(folder.path(), "busy", BUSY);
    let mut program = Program::start(folder.path(), &[], &[&program]);
    assert_eq!(program.line(), "ready");
    for _ in 0..50 {
        let found = program.snapshot();
        assert_eq!(found.threads.len(), 17);
        // Of what ten threads keep.
        assert!(found.blocks.len() > 500, "{}", found.blocks.len());
    }
    assert_eq!(program.end(), "interrupted 0 bad 0\n");
}

#[test]
fn who_cannot_be_asked_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out");
    let snap = |pid: u32| {
        let mut command = heapkeeper();
        command.args(["snap", &pid.to_string(), "-o"]).arg(&to).output().unwrap()
    };
    refused(&snap(u32::MAX / 2), 125, "there is no process");
    let mut plain = Command::new("sleep").arg("100").spawn().unwrap();
    refused(&snap(plain.id()), 125, "does not run on our heap: start it by heapkeeper run");
    plain.kill().unwrap();
    plain.wait().unwrap();

    // It has the library alone.
    let library = text(&succeed(heapkeeper().arg("lib")).stdout);
    let mut bare = Command::new("sleep").arg("100").env("LD_PRELOAD", library.trim()).spawn().unwrap();
    wait_until("it has the library", || {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", bare.id())).unwrap_or_default();
        maps.contains("libheapkeeper-") && maps.contains("sleep")
    });
    refused(&snap(bare.id()), 125, "without a recording");
    bare.kill().unwrap();
    bare.wait().unwrap();

    // It sleeps.
    let mut idle = heapkeeper();
    idle.args(["run", "--", "sleep", "100"]).env("TMPDIR", folder.path());
    let mut idle = idle.stderr(Stdio::null()).spawn().unwrap();
    let pid = child_of(&idle);
    wait_until("it sleeps", || state_of(pid) == Some('S'));
    let asker = Asker::new(folder.path(), pid);
    refused(&snap(pid), 125, &format!("{pid} did not allocate for 10 s, so it has not seen the request"));
    assert_eq!(asker.word(), RequestWord::NONE);
    assert!(!to.exists());
    kill("TERM", pid);
    idle.wait().unwrap();
}

#[test]
fn a_bare_preload_is_reached_through_a_recording_that_was_made_before() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("service.hkrec");
    succeed(heapkeeper().args(["run", "--record"]).arg(&recording).args(["--", "true"]));
    let library = text(&succeed(heapkeeper().arg("lib")).stdout);
    let program = compile_live(
        folder.path(),
        "bare",
        "int main(void) { TELL(\"ready\\n\"); while (serve()) {} return 0; }",
    );
    let mut service = Command::new(program);
    service.env("LD_PRELOAD", library.trim()).env("HEAPKEEPER", format!("recorder={}", recording.display()));
    let mut service = service.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    service.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    let to = folder.path().join("out.hks");
    let output = succeed(heapkeeper().args(["snap", &service.id().to_string(), "-o"]).arg(&to));
    assert!(text(&output.stderr).contains("stood still for"));
    assert_eq!(Snapshot::parse(&std::fs::read(&to).unwrap()).header.pid, service.id());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&to).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    service.kill().unwrap();
    service.wait().unwrap();
}

/// Does what makes a snapshot impossible.
const HINDERED: &str = r#"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
static void *deaf(void *unused) {
    uint64_t all = ~0ul;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    TELL("tid %d\nready\n", gettid());
    for (;;) pause();
}
static void forbid_clone(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
int main(int count, char **words) {
    if (words[1][0] == 's') {
        forbid_clone();
        TELL("ready\n");
    } else {
        pthread_t thread;
        pthread_create(&thread, NULL, deaf, NULL);
    }
    while (serve()) {}
    return 0;
}
"#;

#[test]
fn what_hinders_a_snapshot_is_told_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let program = compile_live(folder.path(), "hindered", HINDERED);
    let to = folder.path().join("out");
    let mut sandboxed = Program::start(folder.path(), &[], &[&program, "sandbox"]);
    assert_eq!(sandboxed.line(), "ready");
    let output = sandboxed.snap(sandboxed.pid, &to).output().unwrap();
    refused(&output, 125, "a sandbox that the program has set forbids it");
    assert_eq!(sandboxed.end(), "");

    let mut deaf = Program::start(folder.path(), &[], &[&program, "deaf"]);
    let tid = deaf.numbers()["tid"];
    let output = deaf.snap(deaf.pid, &to).output().unwrap();
    refused(&output, 125, &format!("its thread {tid} did not stop in time"));
    assert!(!to.exists());
    assert_eq!(deaf.end(), "");
}

/// The thread that comes by has the smallest stack there is; pages of blocks are not there in a fork, or can't be read.
#[test]
fn a_small_stack_and_odd_pages_are_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let source = r#"
        static char *volatile odd;
        static void *serves(void *unused) { while (serve()) {} return NULL; }
        int main(void) {
            odd = malloc(1 << 20);
            memset(odd, 0, 1 << 20);
            char *page = (char *)(((uintptr_t)odd + 8191) & ~4095ul);
            madvise(page, 4096, MADV_DONTFORK);
            mprotect(page + 8192, 4096, PROT_NONE);
            madvise(page + 16384, 4096, MADV_WIPEONFORK);
            char *volatile *pointers = (void *)page;
            pointers[0] = pointers[2048] = pointers[4096] = odd;
            TELL("odd %lu\nword %lu\n", (uintptr_t)odd, (uintptr_t)&pointers[4096] - (uintptr_t)odd);
            pthread_attr_t attributes;
            pthread_attr_init(&attributes);
            pthread_attr_setstacksize(&attributes, 16384);
            pthread_t thread;
            pthread_create(&thread, &attributes, serves, NULL);
            TELL("ready\n");
            pthread_join(thread, NULL);
            return 0;
        }"#;
    let program = compile_live(folder.path(), "odd", source);
    let mut program = Program::start(folder.path(), &["--guard", "off"], &[&program]);
    let at = program.numbers();
    let found = program.snapshot();
    assert_eq!(found.pointers(at["odd"]), [(at["word"] as u32 / 8, at["odd"], false)]);
    program.snapshot();
    assert_eq!(program.end(), "");
}

#[test]
fn root_reaches_what_it_started_and_nobody_else_does() {
    if !tools::is_root() {
        return tools::skip("it takes another user; run as root");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "int main(void) { setgid(65534); setuid(65534); chroot(\"/\"); TELL(\"ready\\n\"); while (serve()) {} return 0; }";
    let program = compile_live(folder.path(), "dropped", source);
    let mut program = Program::start(folder.path(), &[], &[&program]);
    assert_eq!(program.line(), "ready");
    assert_eq!(program.snapshot().header.pid, program.pid);
    let mut as_other = Command::new("setpriv");
    as_other.args(["--reuid", "65533", "--clear-groups", env!("CARGO_BIN_EXE_heapkeeper"), "snap"]);
    as_other.args([&program.pid.to_string(), "-o", "/tmp/heapkeeper-none"]);
    if tools::works(
        "setpriv",
        &["--reuid", "65533", "--clear-groups", env!("CARGO_BIN_EXE_heapkeeper"), "--version"],
    ) {
        refused(&as_other.output().unwrap(), 125, "is another user's: only that user can ask it");
    }
    assert_eq!(program.end(), "");
}

/// A program in namespaces of its own: other process ids, and a small disk of its own for the recording, which is seen nowhere else.
#[test]
fn a_process_in_a_container_is_reached_and_a_full_disk_is_told() {
    let flags: &[&str] = match tools::is_root() {
        true => &["--mount", "--pid", "--fork", "--mount-proc"],
        false => &["--mount", "--pid", "--fork", "--mount-proc", "--map-root-user"],
    };
    let probe: Vec<&str> = flags.iter().copied().chain(["sh", "-c", "mount -t tmpfs none /mnt"]).collect();
    if !tools::works("unshare", &probe) {
        return tools::skip("no namespaces can be made here; run as root, or allow user namespaces");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "int main(void) { TELL(\"ready\\n\"); while (serve()) {} return 0; }";
    let program = compile_live(folder.path(), "inside", source);
    for (disk, is_enough) in [("4m", true), ("100k", false)] {
        let script = format!(
            "mount -t tmpfs -o size={disk} none /mnt && exec env TMPDIR=/mnt '{}' run --guard off -- '{program}'",
            env!("CARGO_BIN_EXE_heapkeeper")
        );
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", &script]).env_remove("XDG_RUNTIME_DIR");
        command.env_remove("HEAPKEEPER").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut unshare = command.spawn().unwrap();
        let stdin = unshare.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let listed = text(&succeed(heapkeeper().arg("ps")).stdout);
        let row = listed.lines().find(|row| row.contains(" inside ") && row.contains(" /mnt/"));
        let row = row.unwrap_or_else(|| panic!("{listed}"));
        let pid: u32 = row.split_whitespace().next().unwrap().parse().unwrap();
        let to = folder.path().join("out");
        let mut snap = heapkeeper();
        let output = snap.args(["snap", &pid.to_string(), "-o"]).arg(&to).output().unwrap();
        if is_enough {
            assert!(output.status.success(), "{}", text(&output.stderr));
            // As it sees itself.
            let found = Snapshot::parse(&std::fs::read(&to).unwrap());
            assert!(found.header.pid < pid);
            assert!(found.threads[0].name.starts_with(b"inside\0"));
            std::fs::remove_file(&to).unwrap();
        } else {
            refused(&output, 125, "there is no room on the disk where its recording lies");
            assert!(!to.exists());
        }
        drop(stdin);
        assert!(unshare.wait().unwrap().success());
    }
}
