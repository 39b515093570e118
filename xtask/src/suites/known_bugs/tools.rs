//! The tools that are compared: how each runs a program, and when it has reported something.

use crate::artefacts::Artefacts;
use crate::packages;
use crate::process::{Ended, Run};
use crate::suites::known_bugs::check::{self, Check};
use crate::suites::known_bugs::matrix::Variant;
use crate::suites::known_bugs::programs::{self, Build, Programs};
use crate::suites::known_bugs::promise::Promise;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// What the programs themselves end with when a variant is not possible here, or not understood.
const CANNOT_BE_MADE: i32 = 77;
const BAD_ARGUMENTS: i32 = 64;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// `heapkeeper check --side both`.
    Heapkeeper,
    /// `heapkeeper check`, blocks at the end of their pages.
    HeapkeeperEnd,
    /// gcc's (or nightly's) address sanitizer, `-O1`.
    Asan,
    /// The same, `-O2`.
    AsanFast,
    /// Valgrind's memcheck.
    Valgrind,
    /// No tool: glibc's own checks, and luck.
    Glibc,
}

/// What a tool said about a program with a bug or its twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Nothing,
    /// A report; for ours with the right kind and the right functions on its stacks.
    Report,
    /// A report of ours that says something else than what happened.
    Misnamed(String),
    /// The variant is not possible here.
    Skipped(String),
    /// The program did not run as it should have, which is no answer.
    Broken(String),
}

impl Tool {
    /// All, in the order of the table's columns.
    pub const ALL: [Tool; 6] =
        [Tool::Heapkeeper, Tool::HeapkeeperEnd, Tool::Asan, Tool::AsanFast, Tool::Valgrind, Tool::Glibc];

    /// Its column.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Heapkeeper => "heapkeeper",
            Tool::HeapkeeperEnd => "heapkeeper-end",
            Tool::Asan => "asan",
            Tool::AsanFast => "asan-O2",
            Tool::Valgrind => "valgrind",
            Tool::Glibc => "glibc",
        }
    }

    /// The name that `misses` in the matrix calls it by.
    pub fn family(self) -> &'static str {
        self.name().split('-').next().unwrap_or("")
    }

    /// What it promises, if it is ours.
    pub fn promise(self, variant: &Variant) -> Promise {
        match self {
            Tool::HeapkeeperEnd => variant.at_end,
            _ => variant.at_both,
        }
    }

    /// Which build it runs.
    pub fn build(self) -> Build {
        match self {
            Tool::Asan => Build::Sanitized,
            Tool::AsanFast => Build::SanitizedFast,
            _ => Build::Plain,
        }
    }

    /// An error that says how to get it, if it is not there.
    pub fn is_there(self, artefacts: Option<&Artefacts>) -> Result<(), String> {
        match self {
            Tool::Heapkeeper | Tool::HeapkeeperEnd => {
                check::is_there(artefacts.ok_or("the heapkeeper command is not built")?)
            }
            Tool::Asan | Tool::AsanFast => programs::has_sanitizer(),
            Tool::Valgrind => packages::require(&["valgrind"]),
            Tool::Glibc => Ok(()),
        }
    }

    /// The words that go before the program; ours writes its report to `json`.
    pub fn prefix(self, artefacts: Option<&Artefacts>, json: &Path) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        match (self, artefacts) {
            (Tool::Heapkeeper, Some(artefacts)) => check::prefix(artefacts, Some("both"), json),
            (Tool::HeapkeeperEnd, Some(artefacts)) => check::prefix(artefacts, None, json),
            (Tool::Valgrind, _) => words(&["valgrind", "--quiet", "--leak-check=no"]),
            _ => Vec::new(),
        }
    }
}

/// Runs variants under tools.
pub struct Runner<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Ours, if it is built.
    pub artefacts: Option<&'a Artefacts>,
    /// A folder for files of the moment.
    pub scratch: PathBuf,
}

impl Runner<'_> {
    /// What the tool says about a variant or its twin.
    pub fn run(&self, tool: Tool, variant: &Variant, twin: bool, worker: usize) -> Seen {
        let Some(program) = self.programs.path(&variant.program, tool.build()) else {
            return Seen::Skipped("no such build".into());
        };
        let json = self.scratch.join(format!("known-bugs-{worker}.json"));
        let _ = std::fs::remove_file(&json);
        let mut words = tool.prefix(self.artefacts, &json);
        words.push(program.to_string_lossy().into_owned());
        words.extend(variant.words.iter().cloned());
        words.push(if twin { "twin" } else { "bug" }.into());
        let mut run = Run::new(&words[0], LIMIT).args(&words[1..]);
        // A report about leaks is not what is asked for here.
        run = run.env("ASAN_OPTIONS", "detect_leaks=0");
        if let Some(artefacts) = self.artefacts {
            run = run.env("XDG_CACHE_HOME", &artefacts.cache);
        }
        match run.ended() {
            Ok(ended) => judged(tool, variant, twin, &ended, &json),
            Err(text) => Seen::Broken(text),
        }
    }
}

fn judged(tool: Tool, variant: &Variant, twin: bool, ended: &Ended, json: &Path) -> Seen {
    match ended.status.code() {
        _ if ended.timed_out => return Seen::Broken(ended.how(LIMIT)),
        Some(CANNOT_BE_MADE) => return Seen::Skipped(ended.last_lines(1).trim().into()),
        Some(BAD_ARGUMENTS) => return Seen::Broken(ended.last_lines(1).trim().into()),
        _ => {}
    }
    let has_died = ended.status.signal().is_some();
    match tool {
        Tool::Heapkeeper | Tool::HeapkeeperEnd => {
            let promise = tool.promise(variant);
            Check { variant, promise, twin }.judged(ended, json)
        }
        Tool::Asan | Tool::AsanFast => report_if(ended.stderr.contains("AddressSanitizer"), ended, twin),
        // A bug may damage valgrind's own bookkeeping, whose exit status then is another; but it has said so.
        Tool::Valgrind => report_if(has_died || valgrind_said_something(&ended.stderr), ended, twin),
        Tool::Glibc => report_if(!ended.status.success(), ended, twin),
    }
}

/// With `--quiet` there are no lines of its own but reports.
fn valgrind_said_something(stderr: &str) -> bool {
    stderr.lines().any(|line| line.starts_with("=="))
}

/// A twin that is not reported still has to end well.
fn report_if(reported: bool, ended: &Ended, twin: bool) -> Seen {
    match (reported, twin && !ended.status.success()) {
        (true, _) => Seen::Report,
        (false, true) => Seen::Broken(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(5))),
        (false, false) => Seen::Nothing,
    }
}
