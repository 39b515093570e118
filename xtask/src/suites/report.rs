//! The part of the command's JSON report that tests look at. Read by names and types of its own: a report
//! whose schema changes unseen does not pass.

use serde::Deserialize;
use std::path::Path;

/// A run's report.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// One entry per bug.
    pub findings: Vec<Finding>,
    /// Programs that ran on our heap.
    pub processes: Vec<Process>,
    /// Counts.
    pub summary: Summary,
}

/// Counts over the run.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// Lost records.
    pub records_dropped: u64,
}

/// One bug.
#[derive(Debug, Deserialize)]
pub struct Finding {
    /// `double-free` and so on.
    pub kind: String,
    /// Number of the weakness.
    pub cwe: u32,
    /// The first sentence.
    pub message: String,
    /// `free` and so on.
    pub call: String,
    /// What lies at the address.
    pub place: String,
    /// The block there.
    pub block: Option<Block>,
    /// The thread.
    pub thread: Thread,
    /// Bad calls.
    pub repeats: u64,
    /// Whether a process was stopped because of it.
    pub aborted: bool,
    /// Innermost first.
    pub stack: Vec<Frame>,
    /// `whole` and so on.
    pub stack_state: String,
}

/// A block.
#[derive(Debug, Deserialize)]
pub struct Block {
    /// Its rounded size.
    pub bytes: u64,
}

/// A thread.
#[derive(Debug, Deserialize)]
pub struct Thread {
    /// Its name.
    pub name: String,
}

/// A function on a stack.
#[derive(Debug, Deserialize)]
pub struct Frame {
    /// Demangled.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// Program or library.
    pub module: Option<String>,
}

/// A process on our heap.
#[derive(Debug, Deserialize)]
pub struct Process {
    /// Its program.
    pub exe: String,
    /// Blocks that were guarded.
    pub guarded_blocks: u64,
    /// Blocks that should have been.
    pub unguarded_blocks: u64,
}

impl Report {
    /// Blocks that were guarded, and those that should have been and were not.
    pub fn guarded_blocks(&self) -> (u64, u64) {
        let sum = |of: fn(&Process) -> u64| self.processes.iter().map(of).sum();
        (sum(|process| process.guarded_blocks), sum(|process| process.unguarded_blocks))
    }

    /// Reads the file that `--json` wrote.
    pub fn read(path: &Path) -> Result<Report, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}\n{text}", path.display()))
    }

    /// An error that shows the findings, if there are any.
    pub fn has_no_findings(&self) -> Result<(), String> {
        if self.summary.records_dropped > 0 {
            return Err(format!("{} records were dropped", self.summary.records_dropped));
        }
        match self.findings.is_empty() {
            true => Ok(()),
            false => Err(format!("findings in a sound program:\n{}", self.shown())),
        }
    }

    /// The findings, for a failure's text.
    pub fn shown(&self) -> String {
        self.findings.iter().map(Finding::shown).collect()
    }
}

impl Finding {
    /// One finding, for a failure's text.
    pub fn shown(&self) -> String {
        let block =
            self.block.as_ref().map_or("no block".into(), |block| format!("block of {}", block.bytes));
        let mut text = format!(
            "{} CWE-{} call {} place {} {block} thread {} x{} stack {}\n  {}\n",
            self.kind,
            self.cwe,
            self.call,
            self.place,
            self.thread.name,
            self.repeats,
            self.stack_state,
            self.message
        );
        for frame in self.stack.iter().take(12) {
            text += &format!("    {}\n", frame.shown());
        }
        text
    }
}

impl Frame {
    /// `function file:line`, the file without its folder.
    pub fn shown(&self) -> String {
        let function = self.function.as_deref().unwrap_or("?");
        match (&self.file, self.line) {
            (Some(file), Some(line)) => {
                let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
                format!("{function} {name}:{line}")
            }
            _ => format!("{function} in {}", self.module.as_deref().unwrap_or("?")),
        }
    }
}
