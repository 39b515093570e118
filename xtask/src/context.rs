//! What a suite is given: where things lie, what is to be run, how much time is left, and where results go.

use crate::artefacts::Artefacts;
use crate::outcome::{Outcome, Tally, Verdict, indented};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The state of a run of suites.
pub struct Context {
    /// The workspace's root.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// A folder for what the tests make; emptied by `cargo clean`.
    pub scratch: PathBuf,
    /// Whether this is the long run.
    pub soak: bool,
    /// A command to test instead of building one.
    pub given_command: Option<PathBuf>,
    /// The command and the library, once they are built.
    pub artefacts: Option<Artefacts>,
    /// The file that the long run keeps its results in.
    pub results: Option<PathBuf>,
    /// The present suite's end.
    pub deadline: Instant,
    only: String,
    tally: Tally,
}

impl Context {
    /// Finds the workspace and makes the scratch folder.
    pub fn new(only: String, given_command: Option<String>, soak: bool) -> Result<Context, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in no workspace")?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => root.join(folder),
            None => root.join("target"),
        };
        let scratch = target.join("xtask");
        std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        Ok(Context {
            root: root.to_path_buf(),
            target,
            scratch,
            soak,
            given_command: given_command.map(PathBuf::from),
            artefacts: None,
            results: None,
            deadline: Instant::now(),
            only,
            tally: Tally::default(),
        })
    }

    /// Starts a suite's clock and count.
    pub fn begin(&mut self, budget: Duration) {
        self.deadline = Instant::now() + budget;
        self.tally = Tally::default();
    }

    /// The present suite's count.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What is left of the present suite's budget, at most `wanted`.
    pub fn time_left(&self, wanted: Duration) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(wanted)
    }

    /// Whether `--only` lets a test of this name run.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Whether `--only` was given.
    pub fn is_narrowed(&self) -> bool {
        !self.only.is_empty()
    }

    /// Counts a test's outcome, and tells failures and skips.
    pub fn record(&mut self, name: &str, outcome: impl Into<Outcome>) {
        match outcome.into() {
            Outcome::Passed => self.tally.passed += 1,
            Outcome::Failed(text) => {
                self.tally.failed += 1;
                self.say(format!("FAILED {name}\n{}", indented(&text)).trim_end());
            }
            Outcome::Skipped(why) => {
                self.tally.skipped += 1;
                self.say(&format!("skipped {name}: {why}"));
            }
        }
    }

    /// Runs a test if `--only` lets it, and counts it.
    pub fn test(&mut self, name: &str, body: impl FnOnce(&Context) -> Verdict) {
        self.test_or_skip(name, |context| body(context).into());
    }

    /// As [`Context::test`], for a test that may have to be skipped.
    pub fn test_or_skip(&mut self, name: &str, body: impl FnOnce(&Context) -> Outcome) {
        if !self.wants(name) {
            return;
        }
        let outcome = match self.time_left(Duration::MAX) {
            Duration::ZERO => Outcome::Failed("not run: the suite's minutes are used up".into()),
            _ => body(self),
        };
        self.record(name, outcome);
    }

    /// Prints a line, and keeps it among the long run's results.
    pub fn say(&self, line: &str) {
        println!("{line}");
        if let Some(path) = &self.results {
            let file = OpenOptions::new().append(true).create(true).open(path);
            if let Err(e) = file.and_then(|mut file| writeln!(file, "{line}")) {
                eprintln!("xtask: {}: {e}", path.display());
            }
        }
    }

    /// Counts tests that another runner has counted.
    pub fn add(&mut self, tally: Tally) {
        self.tally += tally;
    }

    /// The built command and library; without them there is nothing to test.
    pub fn artefacts(&self) -> Result<&Artefacts, String> {
        self.artefacts.as_ref().ok_or("the heapkeeper command is not built".into())
    }
}
