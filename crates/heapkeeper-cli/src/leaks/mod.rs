//! `heapkeeper leaks`: blocks that nothing leads to any more, in a process that goes on. They are told as those of a run are, and judged as they are.

mod records;

use crate::forms::{Forms, Wanted};
use crate::lines::Sink;
use crate::snapshot::{Names, load_twice};
use crate::{VerbResult, judging, output};
use clap::ValueHint;
use hk_graph::{Leak, Snapshot, find_leaks, intersect};
use hk_report::{
    Judgement, LINE_PREFIX, Report, Style, View, bytes, count, finding_text, judgement_text, scan_report,
};
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// There are leaks that are neither suppressed nor in the baseline; as of `check`.
const FOUND: u8 = 97;

const AFTER_HELP: &str = "\
Exit status: 0 if nothing new is lost, 97 if something is, 125 if heapkeeper failed. Leaks that are suppressed or in \
the baseline do not count; they have the same ids as those that `run --leaks` and `check` find at the end.";

/// Options of `heapkeeper leaks`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Write the report as JSON to OUT (`-`: standard output) and not as text
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// The same as SARIF 2.1
    #[arg(long, value_name = "OUT")]
    sarif: Option<PathBuf>,
    /// The same as JUnit's XML
    #[arg(long, value_name = "OUT")]
    junit: Option<PathBuf>,
    /// Leaks that are known, as `heapkeeper check --update-baseline` writes them
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Leaks that are not to count: a file of heapkeeper, valgrind or LeakSanitizer; may be repeated
    #[arg(long, value_name = "FILE")]
    suppressions: Vec<PathBuf>,
    /// A snapshot, as `heapkeeper snap PID -o FILE` takes it; or a process, which is looked at twice: what is lost both times is told
    #[arg(value_name = "FILE|PID", value_hint = ValueHint::FilePath)]
    target: PathBuf,
}

impl Args {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            json: self.json.as_deref(),
            sarif: self.sarif.as_deref(),
            junit: self.junit.as_deref(),
            ..Wanted::default()
        }
    }

    /// The files that are written, and those that are read.
    fn files(&self) -> Vec<(&'static str, &Path)> {
        let written = [("--json", &self.json), ("--sarif", &self.sarif), ("--junit", &self.junit)];
        let files = written.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        let read = [("the snapshot", self.target.as_path())];
        let judged = self.baseline.iter().map(|path| ("--baseline", path.as_path()));
        files.chain(read).chain(judged).collect()
    }
}

/// Reads the snapshot, looks for leaks, and tells.
pub fn run(args: &Args) -> VerbResult {
    output::refuse_same(&args.files())?;
    let has_forms = args.json.is_some() || args.sarif.is_some() || args.junit.is_some();
    let forms = Forms::open_printing(args.wanted())?;
    let judge = judging::judge(args.baseline.as_deref(), &args.suppressions, &Sink::standard_error())?;
    let (first, snapshot) = load_twice(&args.target)?;
    let lost = find_leaks(&snapshot);
    let leaks = match &first {
        Some(first) => intersect((first, &find_leaks(first)), (&snapshot, &lost)),
        None => lost.leaks,
    };
    drop(first);
    let names = Names::new(&snapshot);
    let process = names.process();
    let record = records::process(&snapshot, &names);
    let findings = records::findings(&snapshot, &leaks);
    let mut report = scan_report(&record, findings, &mut names.into_symbolizer());
    let judgement = judge.judge(&mut report);
    let printed = forms.write(&report)?;
    match has_forms {
        true => output::print("leaks", &printed)?,
        false => output::print("leaks", &text(&report, &judgement, &snapshot, &leaks, &process))?,
    }
    Ok(if judgement.new == 0 { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn text(
    report: &Report,
    judgement: &Judgement,
    snapshot: &Snapshot,
    leaks: &[Leak],
    process: &str,
) -> String {
    let view = View::from(Style::for_output(std::io::stdout().is_terminal()));
    let told = report.findings.iter().filter(|finding| finding.status != "suppressed");
    let mut text: String = told.map(|finding| finding_text(finding, view)).collect();
    let _ = writeln!(text, "{LINE_PREFIX} {}", summary(snapshot, leaks, process));
    text + &judgement_text(judgement, report, false)
}

/// `server (1234): 2 leaks: 72 bytes in 3 blocks, and 64 bytes in 4 blocks with them; 1.2 MiB in 3000 blocks are live`.
fn summary(snapshot: &Snapshot, leaks: &[Leak], process: &str) -> String {
    let totals = &snapshot.totals;
    let live = format!("of {} in {} live", bytes(totals.block_bytes), count(totals.blocks, "block"));
    if leaks.is_empty() {
        return format!("{process}: nothing is lost, {live}");
    }
    let own: u64 = leaks.iter().map(|leak| snapshot.graph.bytes(leak.block)).sum();
    let others: u64 = leaks.iter().map(|leak| leak.indirect_blocks).sum();
    let other_bytes: u64 = leaks.iter().map(|leak| leak.indirect_bytes).sum();
    let with_them = match others {
        0 => String::new(),
        others => format!(", and {} in {} with them", bytes(other_bytes), count(others, "block")),
    };
    let blocks = count(leaks.len() as u64, "block");
    format!("{process}: {} lost in {blocks}{with_them}, {live}", bytes(own))
}
