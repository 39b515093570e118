//! Runs the small program: on the system's malloc, and on our heap as `heapkeeper check` does it: every block guarded.

use super::ways::Way;
use crate::Failure;
use hk_report::{LINE_PREFIX, Report};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// What the program says if nothing goes wrong.
pub const RIGHT_ANSWER: &str = "total 10, packed 3+3+2+2";
/// Variables that would change what a malloc does.
const MALLOC_VARIABLES: [&str; 7] = [
    "LD_PRELOAD",
    hk_format::SETTINGS_VARIABLE,
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "MALLOC_CHECK_",
    "MALLOC_PERTURB_",
    "MALLOC_TCACHE_COUNT",
];

/// How a run of the program came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it printed.
    pub said: String,
    /// What was printed about it on standard error.
    pub complaint: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Outcome {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Outcome { said: text(&output.stdout), complaint: text(&output.stderr), status: output.status }
    }

    /// Whether the answer is the right one.
    pub fn is_right(&self) -> bool {
        self.said == RIGHT_ANSWER
    }

    /// How it ended, in words.
    pub fn end(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(libc::SIGABRT)) => "killed by SIGABRT".to_owned(),
            (None, Some(libc::SIGSEGV)) => "killed by SIGSEGV".to_owned(),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        }
    }
}

/// Runs one way on the system's malloc.
pub fn on_system_malloc(program: &Path, way: Way) -> Result<Outcome, Failure> {
    run(Command::new(program).args(["demo", "--program", way.name()]))
}

/// Runs one way on our heap: `heapkeeper check -- heapkeeper demo --program WAY`.
pub fn on_our_heap(program: &Path, way: Way) -> Result<(Outcome, Report), Failure> {
    let folder = Folder::new()?;
    let (log, json) = (folder.0.join("log"), folder.0.join("report.json"));
    let mut command = Command::new(program);
    command.args(["check", "--log"]).arg(&log).arg("--json").arg(&json);
    // A recording with findings is kept; here it goes with the folder.
    command.arg("--record").arg(folder.0.join("recording")).arg("--");
    let outcome = run(command.arg(program).args(["demo", "--program", way.name()]))?;
    let failed = |why: String| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        // They get the prefix once more where they are told.
        let said = format!("{}\n{log}", outcome.complaint);
        let said: Vec<_> =
            said.lines().map(|line| line.strip_prefix(LINE_PREFIX).unwrap_or(line).trim()).collect();
        let said = said.join("\n");
        Failure::new(format!("demo: heapkeeper check gave no report: {why}\n{}", said.trim()))
    };
    let text = std::fs::read_to_string(&json).map_err(|error| failed(error.to_string()))?;
    let report = hk_report::from_json(&text).map_err(failed)?;
    Ok((outcome, report))
}

fn run(command: &mut Command) -> Result<Outcome, Failure> {
    for variable in MALLOC_VARIABLES {
        command.env_remove(variable);
    }
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        Failure::new(format!("demo: {} cannot be started: {error}", command.get_program().display()))
    })?;
    Ok(Outcome::new(&output))
}

/// A folder of our own, removed when it goes out of scope.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("heapkeeper-demo-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::new(format!(
                "demo: the folder {} cannot be made: {error}; name another in TMPDIR",
                path.display()
            ))
        })?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind it does no harm; there is nobody to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
