//! `heapkeeper demo`: five ways of freeing a block, on the system's malloc and on our heap.
//!
//! Everything that is shown is run: [`program`] is started anew for each way ([`ways`]) and heap ([`trial`]),
//! and what it said, how it ended and what was reported is laid out side by side ([`page`]), the report with the
//! program's source ([`quote`]). What was found can be had as a page for a browser, too.

mod page;
mod program;
mod quote;
mod trial;
mod ways;

use crate::forms::{Forms, Wanted};
use crate::{Failure, VerbResult};
use hk_report::{Report, Style, merge};
use page::Trial;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use ways::Way;

/// Options of `heapkeeper demo`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show this way alone
    #[arg(long, value_name = "WAY")]
    only: Option<Way>,
    /// Write what was found to FILE as one page for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Be the small program, in this way: how the demo starts itself
    #[arg(long, value_name = "WAY", hide = true, conflicts_with_all = ["only", "html"])]
    program: Option<Way>,
}

/// Runs the verb: exit status 0 if every run could be made and shown, else 125.
pub fn run(args: &Args) -> VerbResult {
    if let Some(way) = args.program {
        program::run(way)
            .map_err(|error| Failure::new(format!("demo: no thread for the small program: {error}")))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.html.as_deref().is_some_and(|html| html.as_os_str() == "-") {
        return Err(Failure::new("demo: --html -: standard output has the demo itself; give a file"));
    }
    let forms = Forms::open(Wanted { html: args.html.as_deref(), ..Wanted::default() })?;
    let style = Style::for_output(std::io::stdout().is_terminal());
    show(&page::opening(style))?;
    let mut trials: Vec<Trial> = Vec::new();
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("demo: this program's own path is not known: {error}")))?;
    for (i, way) in
        Way::ALL.into_iter().enumerate().filter(|(_, way)| args.only.is_none_or(|only| only == *way))
    {
        let system = trial::on_system_malloc(&program, way)?;
        let (ours, report) = trial::on_our_heap(&program, way)?;
        let trial = Trial { way, system, ours, report };
        show(&page::trial_text(i + 1, &trial, style))?;
        trials.push(trial);
    }
    if args.only.is_none() {
        show(&page::closing(&trials, style))?;
    }
    if let Some(report) = in_one(trials) {
        forms.write(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The reports of all ways as that of one program.
fn in_one(trials: Vec<Trial>) -> Option<Report> {
    let mut report = trials.into_iter().map(|trial| trial.report).reduce(merge)?;
    report.command = Some(["heapkeeper", "demo"].map(str::to_owned).into());
    report.findings = report.findings.iter().map(quote::with_source).collect();
    Some(report)
}

fn paint(style: Style, code: &str, text: &str) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
    }
}

fn show(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("demo: standard output cannot be written: {error}")))
}
