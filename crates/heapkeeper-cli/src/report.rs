//! `heapkeeper report FILE`: shows a kept recording again, maybe on another machine, and says which debug files were missing there.

use crate::doctor::packages;
use crate::forms::{Forms, Wanted};
use crate::output;
use crate::words::typed;
use crate::{Failure, VerbResult, inspect};
use hk_report::{
    LINE_PREFIX, Missing, Recording, Report, RunFacts, Style, View, assemble, build_ids, clean, finding_text,
    report_text,
};
use hk_symbols::{Symbolizer, Why};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options of `heapkeeper report`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Show this finding alone, with all frames, addresses and build ids
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Write the report as JSON to OUT (`-`: standard output) and not as text
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// The same as SARIF 2.1
    #[arg(long, value_name = "OUT")]
    sarif: Option<PathBuf>,
    /// The same as JUnit's XML
    #[arg(long, value_name = "OUT")]
    junit: Option<PathBuf>,
    /// The same as one page for a browser
    #[arg(long, value_name = "OUT")]
    html: Option<PathBuf>,
    /// Write annotations of GitHub Actions to standard output, and not the text
    #[arg(long)]
    github: bool,
    /// The recording, as `heapkeeper run --record FILE` keeps it
    #[arg(value_name = "FILE")]
    recording: PathBuf,
}

impl Args {
    fn files(&self) -> Vec<(&'static str, &Path)> {
        let files = [
            ("--json", &self.json),
            ("--sarif", &self.sarif),
            ("--junit", &self.junit),
            ("--html", &self.html),
        ];
        files.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect()
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            json: self.json.as_deref(),
            sarif: self.sarif.as_deref(),
            junit: self.junit.as_deref(),
            html: self.html.as_deref(),
            github: self.github,
        }
    }
}

/// Reads the recording, resolves its symbols anew, and shows the report.
pub fn run(args: &Args) -> VerbResult {
    let mut files = args.files();
    let has_forms = args.github || !files.is_empty();
    files.push(("the recording", &args.recording));
    output::refuse_same(&files)?;
    let recording = Recording::open(&args.recording).map_err(Failure::new)?;
    let mut report = assemble(&recording, &mut Symbolizer::new(), &RunFacts::default(), &inspect::explain)
        .map_err(Failure::new)?;
    if let Some(id) = &args.id {
        only(&mut report, id)?;
    }
    match has_forms {
        true => output::print("report", &Forms::open_printing(args.wanted())?.write(&report)?)?,
        false => output::print("report", &text(args, &recording, &report)?)?,
    }
    match recording.missing_bytes().map_err(Failure::new)? {
        0 => Ok(ExitCode::SUCCESS),
        _ => Err(Failure::new(format!(
            "the recording {} is cut short: use the whole file, or record again",
            args.recording.display()
        ))),
    }
}

/// Leaves the finding with this id.
fn only(report: &mut Report, id: &str) -> Result<(), Failure> {
    let ids: Vec<String> = report.findings.iter().map(|finding| finding.id.clone()).collect();
    report.findings.retain(|finding| finding.id == id);
    match (report.findings.is_empty(), ids.is_empty()) {
        (false, _) => Ok(()),
        (true, true) => Err(Failure::new(format!("--id {}: the recording has no findings", clean(id)))),
        (true, false) => Err(Failure::new(format!(
            "--id {}: no finding of the recording has this id; there is {}",
            clean(id),
            ids.join(", ")
        ))),
    }
}

fn text(args: &Args, recording: &Recording, report: &Report) -> Result<String, Failure> {
    let builds = build_ids(recording).map_err(Failure::new)?;
    let path = typed(&[args.recording.as_os_str().to_owned()]);
    let view = View {
        style: Style::for_output(std::io::stdout().is_terminal()),
        full: args.id.is_some(),
        check: Some("heapkeeper check -- CMD"),
        recording: Some(&path),
        builds: Some(&builds),
    };
    let shown = match args.id {
        Some(_) => report.findings.iter().map(|finding| finding_text(finding, view)).collect(),
        None => report_text(report, view),
    };
    Ok(shown + &missing_text(report))
}

/// The debug files that would bring lines, and how one comes by them.
fn missing_text(report: &Report) -> String {
    let gave_none = |missing: &&Missing| missing.reason != Why::Virtual.text();
    let missing: Vec<&Missing> = report.missing_debug_info.iter().filter(gave_none).collect();
    let files: Vec<PathBuf> = missing.iter().map(|missing| real(&missing.module)).collect();
    let advice = packages::advice(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let mut text = String::new();
    for (missing, file) in missing.iter().zip(&files) {
        let id = Some(missing.build_id.as_str()).filter(|id| !id.is_empty());
        let how = match missing.reason == Why::NoDebugInfo.text() {
            true => advice.how(file, id),
            false => advice.how_elsewhere(id),
        };
        let build = id.map_or("no build id".into(), |id| format!("build id {id}"));
        let _ = writeln!(
            text,
            "{LINE_PREFIX} debug file missing: {} ({build}): {}; {how}",
            clean(&missing.module),
            missing.reason
        );
    }
    if let Some(hint) = advice.server_hint().filter(|_| missing.iter().any(|m| !m.build_id.is_empty())) {
        let _ = writeln!(text, "{LINE_PREFIX} {hint}");
    }
    text
}

/// Packages know files by their real paths.
fn real(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}
