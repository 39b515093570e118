//! `heapkeeper report FILE`: prints a kept recording again.

use crate::output::{self, Output};
use crate::{Failure, VerbResult, inspect};
use hk_report::{Recording, RunFacts, Style, assemble, report_text, to_json};
use hk_symbols::Symbolizer;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options of `heapkeeper report`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write the report as JSON to OUT (`-`: standard output) and not as text
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// The recording, as `heapkeeper run --record FILE` keeps it
    #[arg(value_name = "FILE")]
    recording: PathBuf,
}

/// Reads the recording, resolves its symbols anew, and prints the report on standard output.
pub fn run(args: &Args) -> VerbResult {
    if let Some(json) = &args.json {
        output::refuse_same(&[("the recording", &args.recording), ("--json", json)])?;
    }
    let recording = Recording::open(&args.recording).map_err(Failure::new)?;
    let report = assemble(&recording, &mut Symbolizer::new(), &RunFacts::default(), &inspect::explain)
        .map_err(Failure::new)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => print(&to_json(&report))?,
        Some(path) => Output::create(path)?.commit(to_json(&report).as_bytes())?,
        None => print(&report_text(&report, Style::for_output(std::io::stdout().is_terminal())))?,
    }
    match recording.missing_bytes().map_err(Failure::new)? {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::new(format!(
            "the recording {} is cut short: use the whole file, or record again",
            args.recording.display()
        ))),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `heapkeeper report FILE | head` has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|e| Failure::new(format!("report: cannot write to standard output: {e}"))),
    }
}
