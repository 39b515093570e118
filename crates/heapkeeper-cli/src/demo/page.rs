//! What the demo shows: for each way the two runs, the report, and a word on what is not yet caught.

use super::trial::{Outcome, RIGHT_ANSWER};
use super::ways::Way;
use hk_report::{Finding, Report, Style, finding_text};
use std::fmt::Write;

/// Columns before everything under a headline.
const INDENT: &str = "   ";
/// Widest line of ours; reports may have longer paths.
const WIDTH: usize = 98;

/// The small program's text, to show the line that a report names.
const PROGRAM_SOURCE: &str = include_str!("program.rs");

/// One way, tried on both heaps.
pub struct Trial {
    /// The way.
    pub way: Way,
    /// On the system's malloc.
    pub system: Outcome,
    /// On our heap.
    pub ours: Outcome,
    /// What our heap reports.
    pub report: Report,
}

/// The lines before the first way.
pub fn opening(style: Style) -> String {
    let answer = paint(style, "1", RIGHT_ANSWER);
    format!(
        "A small program totals four orders (1, 2, 3, 4) and packs the items.\n\
         It should say: {answer}. Here it frees the orders in different ways.\n\n"
    )
}

/// One way: headline, steps, the two runs, the report. `first` is the trial of the right way.
pub fn trial_text(number: usize, trial: &Trial, first: Option<&Trial>, style: Style) -> String {
    let mut out = String::new();
    let rule = "─".repeat(WIDTH - 6 - trial.way.title().chars().count());
    let title = paint(style, "1", &format!("{number}  {}", trial.way.title()));
    let _ = writeln!(out, "{title}  {}", paint(style, "2", &rule));
    out.push_str(&steps_text(trial.way, style));
    out.push('\n');
    out.push_str(&row("system malloc", &trial.system, system_verdict(trial), style));
    out.push_str(&row("heapkeeper", &trial.ours, our_verdict(trial), style));
    for finding in &trial.report.findings {
        out.push('\n');
        for line in finding_text(&shortened(finding), style).lines() {
            let _ = writeln!(out, "{INDENT}{line}");
        }
        out.push_str(&source_line(finding, style).unwrap_or_default());
    }
    if let Some(remark) = remark(trial, first) {
        let _ = writeln!(out, "{INDENT}{}", paint(style, "36", &remark));
    }
    out.push('\n');
    out
}

/// The lines after the last way.
pub fn closing(trials: &[Trial], style: Style) -> String {
    let wrong = trials.iter().filter(|trial| !trial.system.is_right()).count();
    let caught = trials.iter().filter(|trial| !trial.report.findings.is_empty()).count();
    let not_yet: Vec<&str> = trials.iter().filter(|trial| is_missed(trial)).map(|t| t.way.name()).collect();
    let not_yet = if not_yet.is_empty() { "none".to_owned() } else { not_yet.join(", ") };
    let harmless = trials.iter().filter(|t| !t.report.findings.is_empty() && t.ours.is_right()).count();
    let harm = if harmless == caught { "these".to_owned() } else { format!("{harmless} of these") };
    let next = paint(style, "1", "heapkeeper run -- CMD ARGS…");
    format!(
        "On the system's malloc {wrong} of {} ways went wrong. Heapkeeper caught {caught} and made {harm} \
         harmless.\nNot yet caught: {not_yet}.\n\nYour own program: {next}\n",
        trials.len()
    )
}

/// The finding with the paths of this program's sources cut to what follows `src/`: whoever reads the demo has
/// the program, but rarely its sources in the folder where it was built.
fn shortened(finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    for frame in &mut finding.stack {
        // It is shown from what the command carries.
        frame.source = None;
        if let Some((_, end)) = frame.file.as_deref().and_then(|file| file.rsplit_once("heapkeeper-cli/src/"))
        {
            frame.file = Some(end.to_owned());
        }
    }
    finding
}

/// The line of the small program that the report names first.
fn source_line(finding: &Finding, style: Style) -> Option<String> {
    let in_program = |file: &String| file.ends_with("demo/program.rs");
    let frame = finding.stack.iter().find(|frame| frame.file.as_ref().is_some_and(in_program))?;
    let number = frame.line?;
    let source = PROGRAM_SOURCE.lines().nth(number.checked_sub(1)? as usize)?.trim();
    let place = paint(style, "2", &format!("the source at demo/program.rs:{number}:"));
    Some(format!("{INDENT}{place}  {}\n", paint(style, "1", source)))
}

/// How a run is judged: the level decides the colour.
struct Verdict {
    text: String,
    colour: &'static str,
}

const GOOD: &str = "1;32";
const BAD: &str = "1;31";
const MISSED: &str = "1;33";

fn verdict(text: impl Into<String>, colour: &'static str) -> Verdict {
    Verdict { text: text.into(), colour }
}

fn system_verdict(trial: &Trial) -> Verdict {
    let outcome = &trial.system;
    match outcome.status.success() {
        true if trial.way == Way::Never && outcome.is_right() => verdict("right, memory lost", MISSED),
        true if outcome.is_right() && trial.way == Way::AfterLastUse => verdict("right", GOOD),
        true if outcome.is_right() => verdict("right by chance", MISSED),
        true => verdict("WRONG, no word of it", BAD),
        false => verdict("DEAD, no word of where", BAD),
    }
}

fn our_verdict(trial: &Trial) -> Verdict {
    let result = if trial.ours.is_right() { "right" } else { "WRONG" };
    match (trial.report.findings.is_empty(), trial.way) {
        (true, Way::AfterLastUse) => {
            verdict(format!("{result}, nothing to report"), if trial.ours.is_right() { GOOD } else { BAD })
        }
        (true, _) => verdict(format!("{result}, NOT YET CAUGHT"), MISSED),
        (false, Way::AfterLastUse | Way::Never) => verdict(format!("{result}, false report"), BAD),
        (false, _) => {
            verdict(format!("{result}, and CAUGHT"), if trial.ours.is_right() { GOOD } else { BAD })
        }
    }
}

/// A bug that was there and not reported.
fn is_missed(trial: &Trial) -> bool {
    trial.report.findings.is_empty() && trial.way != Way::AfterLastUse
}

fn row(heap: &str, outcome: &Outcome, verdict: Verdict, style: Style) -> String {
    let said = if outcome.said.is_empty() { &outcome.complaint } else { &outcome.said };
    let said = said.lines().next().unwrap_or("(nothing)");
    let said = format!("{said:<33}");
    let said = if outcome.is_right() { said } else { paint(style, "31", &said) };
    let judged = paint(style, verdict.colour, &verdict.text);
    format!("{INDENT}{heap:<15}{said}{:<20}{judged}\n", outcome.end())
}

/// The steps of the program in as few lines as fit; the wrong one stands out.
fn steps_text(way: Way, style: Style) -> String {
    let mut out = INDENT.to_owned();
    let mut used = INDENT.len();
    for (i, step) in way.steps().iter().enumerate() {
        let wrong = way.wrong_step() == Some(i);
        let end = if i + 1 == way.steps().len() { "" } else { ";" };
        let shown = if wrong { format!("»{step}«{end}") } else { format!("{step}{end}") };
        let width = shown.chars().count() + 1;
        if used + width > WIDTH {
            let _ = write!(out, "\n{INDENT}");
            used = INDENT.len();
        }
        let gap = if used == INDENT.len() { "" } else { " " };
        let _ = write!(out, "{gap}{}", paint(style, if wrong { "31" } else { "2" }, &shown));
        used += width;
    }
    out + "\n"
}

/// What has to be said where nothing is reported.
fn remark(trial: &Trial, first: Option<&Trial>) -> Option<String> {
    if !is_missed(trial) {
        return None;
    }
    match trial.way {
        Way::Never => {
            Some(format!("Leaks are not yet reported.{}", blocks_left(&trial.report, &first?.report)))
        }
        Way::BeforeTheLoop if trial.ours.is_right() => Some(
            "Reads are not yet watched. The total is right by luck: nobody got the block meanwhile."
                .to_owned(),
        ),
        Way::BeforeTheLoop => Some("Reads are not yet watched.".to_owned()),
        _ => None,
    }
}

/// The counts at exit are exact, and tell of the leak without naming it.
fn blocks_left(report: &Report, right: &Report) -> String {
    match (report.summary.live_blocks, right.summary.live_blocks) {
        (Some(here), Some(there)) => {
            format!(
                " The count at exit tells: {} blocks are live, against {} in way 1.",
                here.value, there.value
            )
        }
        _ => String::new(),
    }
}

fn paint(style: Style, code: &str, text: &str) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hk_report::{Address, Block, Figure, ProcessRef, StackFrame, Summary, ThreadRef};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn outcome(said: &str, raw_status: i32) -> Outcome {
        Outcome {
            said: said.into(),
            complaint: "munmap_chunk(): invalid pointer".into(),
            status: ExitStatus::from_raw(raw_status),
        }
    }

    fn frame(function: &str, line: u32) -> StackFrame {
        StackFrame {
            function: Some(format!("heapkeeper::demo::program::{function}")),
            file: Some("crates/heapkeeper-cli/src/demo/program.rs".into()),
            line: Some(line),
            inlined: false,
            module: Some("/usr/bin/heapkeeper".into()),
            offset: Some(Address(0x1000)),
            pc: Address(0x1000),
            source: None,
        }
    }

    fn double_free() -> Finding {
        Finding {
            kind: "double-free".into(),
            cwe: 415,
            message: "double free (CWE-415): freed_twice() frees a 32-byte block that is already free".into(),
            call: "free".into(),
            address: Address(0x7f00_0010_0020),
            place: "free-block".into(),
            block: Some(Block { start: Address(0x7f00_0010_0020), bytes: 32, offset: 0 }),
            region: None,
            thread: ThreadRef { name: "heapkeeper".into(), id: 7 },
            process: ProcessRef { pid: 7, exe: "/usr/bin/heapkeeper".into() },
            process_count: 1,
            repeats: 1,
            aborted: false,
            stack: vec![frame("freed_twice", 116), frame("run", 35)],
            stack_state: "whole".into(),
            ..Finding::default()
        }
    }

    fn report(findings: Vec<Finding>, live_blocks: u64) -> Report {
        Report {
            schema: hk_report::SCHEMA.into(),
            version: hk_report::SCHEMA_VERSION,
            heapkeeper: "0".into(),
            command: None,
            exit_status: Some(0),
            exit_signal: None,
            summary: Summary { live_blocks: Some(Figure::exact(live_blocks)), ..Summary::default() },
            findings,
            processes: Vec::new(),
            not_covered: Vec::new(),
            notes: Vec::new(),
            missing_debug_info: Vec::new(),
        }
    }

    fn trial(way: Way, system: Outcome, ours: Outcome, report: Report) -> Trial {
        Trial { way, system, ours, report }
    }

    fn right() -> Outcome {
        outcome(RIGHT_ANSWER, 0)
    }

    #[test]
    fn a_caught_double_free_is_shown_with_its_report() {
        let wrong = outcome("total 10, packed 9+9+9+9", 0);
        let trial = trial(Way::Twice, wrong, right(), report(vec![double_free()], 3));
        let text = trial_text(4, &trial, None, Style::Plain);
        assert!(text.contains("»free(orders)«"), "{text}");
        assert!(text.contains("WRONG, no word of it") && text.contains("right, and CAUGHT"), "{text}");
        assert!(text.contains("heapkeeper: double free (CWE-415): freed_twice()"), "{text}");
        assert!(text.contains("program.rs:116"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn what_is_missed_is_said() {
        let first = trial(Way::AfterLastUse, right(), right(), report(Vec::new(), 3));
        let leak = trial(Way::Never, right(), right(), report(Vec::new(), 4));
        let text = trial_text(2, &leak, Some(&first), Style::Plain);
        assert!(
            text.contains("right, NOT YET CAUGHT") && text.contains("4 blocks are live, against 3 in way 1"),
            "{text}"
        );
        let read = outcome("total 36, packed 9+9+9+9", 0);
        let stale = trial(Way::BeforeTheLoop, read.clone(), right(), report(Vec::new(), 3));
        assert!(trial_text(3, &stale, None, Style::Plain).contains("right by luck"));
        let stale = trial(Way::BeforeTheLoop, read.clone(), read, report(Vec::new(), 3));
        assert!(trial_text(3, &stale, None, Style::Plain).contains("WRONG, NOT YET CAUGHT"));
        let text = closing(&[first, leak, stale], Style::Plain);
        assert!(
            text.contains("1 of 3 ways went wrong")
                && text.contains("Not yet caught: never, before-the-loop.")
        );
    }

    #[test]
    fn a_death_shows_what_was_printed_last() {
        let dead = outcome("", libc::SIGABRT);
        let trial = trial(Way::WrongAddress, dead, right(), report(Vec::new(), 3));
        let text = trial_text(5, &trial, None, Style::Colour);
        assert!(
            text.contains("munmap_chunk(): invalid pointer") && text.contains("killed by SIGABRT"),
            "{text}"
        );
        assert!(text.contains("\x1b[1;31mDEAD"), "{text}");
    }

    #[test]
    fn a_report_on_sound_code_would_not_pass_as_success() {
        let trial = trial(Way::AfterLastUse, right(), right(), report(vec![double_free()], 3));
        assert!(trial_text(1, &trial, None, Style::Plain).contains("false report"));
    }
}
