//! What the tests of the command share.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod asker;
pub mod program;
pub mod snapshot;
pub mod tools;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The command under test.
pub fn heapkeeper() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heapkeeper"));
    command.env_remove("HEAPKEEPER").env_remove("LD_PRELOAD").env_remove("XDG_RUNTIME_DIR");
    command
}

/// `heapkeeper run -- sh -c SCRIPT`.
pub fn run_shell(script: &str) -> Command {
    let mut command = heapkeeper();
    command.args(["run", "--", "sh", "-c", script]);
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs it, and shows everything if it did not end with success.
#[track_caller]
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program under a verb in a folder; gives how it ended, and its JSON report.
#[track_caller]
pub fn run_for_report(
    folder: &Path,
    verb: &[&str],
    program: &[&str],
    change: impl Fn(&mut Command),
) -> (Output, serde_json::Value) {
    let mut command = heapkeeper();
    command.args(verb).args(["--json", "out.json", "--"]).args(program);
    change(command.current_dir(folder).env("TMPDIR", folder));
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(folder.join("out.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    (output, serde_json::from_str(&report).unwrap())
}

/// The functions of a report's stack; `?` for one without a name.
pub fn functions(stack: &serde_json::Value) -> Vec<&str> {
    let frames = stack.as_array().unwrap().iter();
    frames.map(|frame| frame["function"].as_str().unwrap_or("?")).collect()
}

/// Waits until the condition holds.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}

/// The state letter of a process; None if there is none.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The program that a heapkeeper runs, once it is no longer a copy of heapkeeper itself.
pub fn child_of(parent: &Child) -> u32 {
    let exe = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let is_heapkeeper =
        |pid: u32| exe(pid).is_some_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_heapkeeper")));
    let mut found = None;
    wait_until("the command has started its program", || {
        let pid = parent.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let child = children.unwrap_or_default().split(' ').next().and_then(|pid| pid.parse().ok());
        found = child.filter(|&child| is_heapkeeper(pid) && exe(child).is_some() && !is_heapkeeper(child));
        found.is_some()
    });
    found.unwrap()
}

/// Compiles a C or C++ source into a folder and gives the program.
pub fn compile(folder: &Path, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let compiler = if name.ends_with(".c") { "gcc" } else { "g++" };
    let source_path = folder.join(name);
    std::fs::write(&source_path, source).unwrap();
    let program = folder.join(name.split('.').next().unwrap());
    succeed(Command::new(compiler).args(flags).arg("-o").arg(&program).arg(&source_path).current_dir(folder));
    program
}
