//! `heapkeeper why`: each part of a program's resident memory is what the program made it.

mod common;

use common::program::*;
use common::*;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Live blocks, and free ones of which each page keeps one neighbour.
const SCATTERED: &str = r#"
static char *volatile live[64 * 16];
static char *volatile small[32 * 1024 * 16];
int main(void) {
    /* 64 KiB is a block of its own; 64 bytes is a class, so nothing is rounded up. */
    for (int i = 0; i < 64 * 16; i++) live[i] = memset(malloc(65536), 1, 65536);
    for (int i = 0; i < 32 * 1024 * 16; i++) small[i] = memset(malloc(64), 2, 64);
    for (int i = 0; i < 32 * 1024 * 16; i++)
        if (i % 64) { free(small[i]); small[i] = 0; }
    TELL("ready\n");
    serve();
}
"#;

/// What a process's memory is told to be.
#[track_caller]
fn told(program: &Program) -> Value {
    let mut command = heapkeeper();
    let output = succeed(command.args(["why", "--json", "-", &program.pid.to_string()]));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    sums(&told);
    told
}

/// All parts together are what is resident, and all of it; none is empty.
#[track_caller]
fn sums(told: &Value) {
    let parts = told["parts"].as_array().unwrap();
    let bytes: u64 = parts.iter().map(|part| part["bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, told["resident_bytes"].as_u64().unwrap(), "{told:#}");
    let tenths: f64 = parts.iter().map(|part| (part["percent"].as_f64().unwrap() * 10.0).round()).sum();
    assert_eq!(tenths, 1000.0, "{told:#}");
    assert!(parts.iter().all(|part| part["bytes"].as_u64().unwrap() > 0), "{told:#}");
}

/// The bytes of all parts of a kind.
fn part(told: &Value, kind: &str) -> u64 {
    let parts = told["parts"].as_array().unwrap().iter().filter(|part| part["part"] == kind);
    parts.map(|part| part["bytes"].as_u64().unwrap()).sum()
}

/// Within a twentieth.
#[track_caller]
fn is_about(bytes: u64, expected: u64, told: &Value) {
    assert!(bytes.abs_diff(expected) * 20 <= expected, "{bytes} is not about {expected}: {told:#}");
}

/// As the system counts it.
fn resident(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn start(name: &str, source: &str, options: &[&str]) -> (tempfile::TempDir, Program) {
    let folder = tempfile::tempdir().unwrap();
    let program = compile_live(folder.path(), name, source);
    let mut program = Program::start(folder.path(), options, &[&program]);
    assert_eq!(program.line(), "ready");
    (folder, program)
}

#[test]
fn live_blocks_and_what_is_free_among_them_are_told_apart() {
    let (_folder, program) = start("scattered", SCATTERED, &["--guard", "1/500"]);
    let told = told(&program);
    is_about(part(&told, "live") + part(&told, "rounding"), 64 * MIB + MIB / 2, &told);
    // Who frees a word's blocks may be given some of them next.
    is_about(part(&told, "free-blocks") + part(&told, "thread-caches"), 32 * MIB - MIB / 2, &told);
    assert!(part(&told, "rounding") < MIB, "64 KiB and 64 bytes are sizes of blocks: {told:#}");
    is_about(told["resident_bytes"].as_u64().unwrap(), resident(program.pid), &told);
}

#[test]
fn the_text_has_the_same_parts_the_largest_first() {
    let (_folder, program) = start("scattered", SCATTERED, &["--guard", "off"]);
    let mut command = heapkeeper();
    let said = text(&succeed(command.args(["why", &program.pid.to_string()])).stdout);
    said.lines().for_each(|line| assert!(line.chars().count() <= 100, "{line}"));
    let mut percents: Vec<f64> =
        said.lines().filter_map(|line| line.split_once(" %  ")?.0.rsplit(' ').next()?.parse().ok()).collect();
    assert_eq!(percents.pop(), Some(100.0), "{said}");
    assert!(percents.len() > 6 && percents.is_sorted_by(|a, b| a >= b), "{said}");
    assert_eq!(percents.iter().map(|percent| (percent * 10.0).round()).sum::<f64>(), 1000.0, "{said}");
    for line in ["live blocks\n", "free blocks among live ones (fragmentation)\n", "of page tables"] {
        assert!(said.contains(line), "no '{line}' in:\n{said}");
    }
    let sparse = said.lines().find_map(|line| line.trim().split_once(" spans are less than a quarter live"));
    let (_, spans) = sparse.expect(&said).0.split_once(" of ").unwrap();
    assert!((512..3000).contains(&spans.parse::<u32>().unwrap()), "{said}");
}

#[test]
fn rounding_is_estimated_by_what_was_asked_for() {
    // 33 bytes are served by 48: five of sixteen bytes are rounding.
    let source = "int main(void) {
        for (int i = 0; i < 1024 * 1024; i++) *(char *volatile *)malloc(33) = 0;
        TELL(\"ready\\n\"); serve(); }";
    let (_folder, program) = start("rounded", source, &["--guard", "1/500"]);
    let told = told(&program);
    is_about(part(&told, "live"), 33 * MIB, &told);
    is_about(part(&told, "rounding"), 15 * MIB, &told);
    assert!(told["known_requests"].as_u64().unwrap() > 100, "{told:#}");
}

#[test]
fn what_the_program_maps_itself_is_told_as_its() {
    let source = r#"
    static void *volatile stays;
    int main(void) {
        char *mine = mmap(0, 48 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(mine, 1, 24 << 20);
        int memory = memfd_create("orders", 0);
        ftruncate(memory, 8 << 20);
        memset(mmap(0, 8 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0), 1, 8 << 20);
        int file = open("data", O_RDWR | O_CREAT, 0600);
        char room[65536] = "x";
        for (int i = 0; i < 64; i++) write(file, room, sizeof room);
        char *copy = mmap(0, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        for (int i = 0; i < 4 << 20; i += 4096) stays = (void *)(uintptr_t)copy[i];
        memset(copy, 2, 1 << 20);
        char *brk = sbrk(2 << 20);
        memset(brk, 1, 2 << 20);
        TELL("ready\n");
        serve();
    }"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some data");
    let source = source.replace("\"data\"", &format!("{:?}", file.to_str().unwrap()));
    let program = compile_live(folder.path(), "maps", &source);
    let mut program = Program::start(folder.path(), &[], &[&program]);
    assert_eq!(program.line(), "ready");
    let told = told(&program);
    is_about(part(&told, "anonymous"), 24 * MIB, &told);
    is_about(part(&told, "shared"), 8 * MIB, &told);
    is_about(part(&told, "file"), 3 * MIB, &told);
    is_about(part(&told, "file-copies"), MIB, &told);
    is_about(part(&told, "brk"), 2 * MIB, &told);
    let name = |kind: &str| {
        let parts = told["parts"].as_array().unwrap();
        parts.iter().find(|part| part["part"] == kind).unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name("file"), file.to_str().unwrap());
    assert!(name("shared").starts_with("/memfd:orders"), "{told:#}");
}

#[test]
fn guards_and_quarantine_have_parts() {
    let source = r#"
    static void *volatile kept[1000];
    int main(void) {
        for (int i = 0; i < 1000; i++) kept[i] = memset(malloc(100), 1, 100);
        TELL("ready\n");
        serve();
    }"#;
    let (_folder, program) = start("guarded", source, &["--guard", "1/1"]);
    let of_guards = told(&program);
    let expected = 1000 * (4096 - 100);
    assert!((expected..expected * 2).contains(&part(&of_guards, "guards")), "{of_guards:#}");
    let source = r#"
    static char *volatile held[8192];
    int main(void) {
        for (int i = 0; i < 8192; i++) held[i] = memset(malloc(1024), 1, 1024);
        for (int i = 0; i < 8192; i++) free(held[i]);
        TELL("ready\n");
        serve();
    }"#;
    let (_folder, program) = start("held", source, &["--mode", "keep", "--guard", "off"]);
    let of_keep = told(&program);
    let retained = part(&of_keep, "retained");
    assert!(retained >= 8 * MIB, "{of_keep:#}");
}

#[test]
fn a_process_that_is_not_ours_is_one_line() {
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let why = |pid: u32| {
        let output = heapkeeper().args(["why", &pid.to_string()]).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), String::new()));
        text(&output.stderr)
    };
    let pid = other.id();
    wait_until("sleep runs", || {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| !exe.ends_with("why"))
            && state_of(pid) == Some('S')
    });
    let said = why(pid);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(
        said,
        format!("heapkeeper: process {pid} does not run on our heap: start it by heapkeeper run\n")
    );
    assert_eq!(why(pid), format!("heapkeeper: there is no process {pid}\n"));
}
