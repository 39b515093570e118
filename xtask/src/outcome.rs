//! What became of a test, and how many of each there were.

use std::fmt;
use std::ops::AddAssign;

/// How a test ended.
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not; the text says in what way, in as many lines as it takes.
    Failed(String),
    /// It cannot be told on this machine; the text says why and how to change that.
    Skipped(String),
}

/// A test's result: `Ok` passed, `Err` failed with its text.
pub type Verdict = Result<(), String>;

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Outcome {
        match verdict {
            Ok(()) => Outcome::Passed,
            Err(text) => Outcome::Failed(text),
        }
    }
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that hold.
    pub passed: usize,
    /// Tests that do not.
    pub failed: usize,
    /// Tests that could not be told.
    pub skipped: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Lines with an indent, for texts below a test's name.
pub fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The last lines of a text that may be long.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let cut = all.len().saturating_sub(lines);
    let head = if cut > 0 { format!("({cut} lines before these)\n") } else { String::new() };
    head + &all[cut..].join("\n")
}
