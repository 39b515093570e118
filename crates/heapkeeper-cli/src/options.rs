//! The options that `run` and `check` share.

use crate::Failure;
use crate::output;
use crate::run::environment::{GuardChoice, LeaksName, ModeName, OnFindingName};
use hk_report::clean;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How a program is run, and where the report goes.
#[derive(clap::Args, Debug)]
pub struct RunOptions {
    /// Who answers when memory is no longer in use
    #[arg(long, value_enum, value_name = "MODE")]
    pub mode: Option<ModeName>,
    /// Which blocks are guarded, so that reads and writes after free or past the end are seen: off, one in N, or those that are
    /// allocated below a function or a line [default: 1/5000, check: 1/1]
    #[arg(long, value_name = "off|1/N|site:FUNC|site:FILE:LINE", value_parser = GuardChoice::parse)]
    pub guard: Option<GuardChoice>,
    /// So many freed blocks may wait for their guards: faster, and blind for them meanwhile [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(hk_format::GUARD_BATCH_MAX)))]
    pub guard_batch: Option<u32>,
    /// When lost blocks are looked for: those that nothing points at any more [default: off; alone, and under check: exit]
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "exit")]
    pub leaks: Option<LeaksName>,
    /// What happens after a finding was reported
    #[arg(long, value_enum, value_name = "WHAT")]
    pub on_finding: Option<OnFindingName>,
    /// Write the report to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report to FILE as SARIF 2.1, for code scanning
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Write the report to FILE as JUnit's XML, for test reports
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the report to FILE as one page for a browser
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the findings to standard error as annotations of GitHub Actions
    #[arg(long)]
    pub github: bool,
    /// Keep the recording in FILE, for `heapkeeper report FILE`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Write heapkeeper's lines to FILE and not to standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Findings that are known, as `heapkeeper check --update-baseline` writes them
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Tell of findings that are not in the baseline alone; files have all, with their status
    #[arg(long, requires = "baseline")]
    pub new_only: bool,
    /// Findings that are not to count: a file of heapkeeper, valgrind or LeakSanitizer; may be repeated
    #[arg(long, value_name = "FILE")]
    pub suppressions: Vec<PathBuf>,
}

impl RunOptions {
    /// The files that are written, by their options.
    fn written(&self) -> Vec<(&'static str, &Path)> {
        let files = [
            ("--json", &self.json),
            ("--sarif", &self.sarif),
            ("--junit", &self.junit),
            ("--html", &self.html),
            ("--log", &self.log),
            ("--record", &self.record),
            ("--baseline", &self.baseline),
        ];
        files.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect()
    }

    /// An error if the files that are given would destroy each other or the program.
    pub fn check_files(&self, program: Option<&Path>) -> Result<(), Failure> {
        let written = self.written();
        if let Some((option, _)) = written.iter().find(|(_, path)| path.as_os_str() == "-") {
            return Err(Failure::new(format!(
                "{option} -: standard output is the program's own; give a file"
            )));
        }
        output::refuse_same(&written)?;
        for path in &self.suppressions {
            for file in &written {
                output::refuse_same(&[("--suppressions", path), *file])?;
            }
        }
        program.map_or(Ok(()), |program| output::refuse_program(&written, program))
    }
}

/// A misspelt option is taken for CMD otherwise. A program of such a name can be given behind `--`.
pub fn refuse_option_as_command(verb: &str, command: &[OsString]) -> Result<(), Failure> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let before = words.len().checked_sub(command.len() + 1).map(|at| &words[at]);
    if !command[0].as_encoded_bytes().starts_with(b"-") || before.is_some_and(|word| word == "--") {
        return Ok(());
    }
    let name = command[0].to_string_lossy();
    Err(Failure::new(format!(
        "{verb} has no option {}: see 'heapkeeper {verb} --help'; a program of that name goes behind --",
        clean(&name)
    )))
}
