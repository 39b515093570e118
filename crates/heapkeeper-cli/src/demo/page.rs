//! What the demo shows: for each way the two runs, the report, and a word on what is not yet caught.

use super::trial::{Outcome, RIGHT_ANSWER};
use super::ways::Way;
use super::{paint, quote};
use hk_report::{Report, Style};
use std::fmt::Write;

/// Columns before everything under a headline.
const INDENT: &str = "   ";
/// Widest line of ours; reports may have longer paths.
const WIDTH: usize = 98;
/// Exit status of `heapkeeper check` where nothing was found and too little was seen.
const BLIND: i32 = 98;

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

impl Trial {
    /// Whether our heap named the bug for what it is.
    fn is_caught(&self) -> bool {
        self.way.kind().is_some_and(|kind| self.report.findings.iter().any(|finding| finding.kind == kind))
    }

    /// Whether there was a bug and our heap did not name it.
    fn is_missed(&self) -> bool {
        self.way != Way::AfterLastUse && !self.is_caught()
    }

    /// Whether the program came to a good end on the system's malloc.
    fn went_right(&self) -> bool {
        self.system.is_right() && self.system.status.success()
    }

    /// Whether it did so on our heap: the exit status of `heapkeeper check` is about the findings.
    fn was_harmless(&self) -> bool {
        self.ours.is_right() && self.report.exit_status == Some(0)
    }
}

/// The lines before the first way.
pub fn opening(style: Style) -> String {
    let answer = paint(style, "1", RIGHT_ANSWER);
    format!(
        "A small program totals four orders (1, 2, 3, 4) and packs the items.\n\
         It should say: {answer}. Here it frees the orders in different ways, on the system's\n\
         malloc and under heapkeeper check: that guards every block, and its exit status 97 means a finding.\n\n"
    )
}

/// One way: headline, steps, the two runs, the report.
pub fn trial_text(number: usize, trial: &Trial, style: Style) -> String {
    let mut out = String::new();
    let rule = "─".repeat(WIDTH - 6 - trial.way.title().chars().count());
    let title = paint(style, "1", &format!("{number}  {}", trial.way.title()));
    let _ = writeln!(out, "{title}  {}", paint(style, "2", &rule));
    out.push_str(&steps_text(trial.way, style));
    out.push('\n');
    out.push_str(&row("system malloc", &trial.system, system_verdict(trial), style));
    out.push_str(&row("heapkeeper check", &trial.ours, our_verdict(trial), style));
    // A bad free that is ignored leaves its block lost: that follows from it.
    let is_told = |kind: &str| trial.way == Way::Never || kind != "leak";
    for finding in trial.report.findings.iter().filter(|finding| is_told(&finding.kind)) {
        out.push('\n');
        out.push_str(&quote::quoted(finding, INDENT, WIDTH, style));
    }
    if let Some(remark) = remark(trial) {
        let _ = writeln!(out, "{INDENT}{}", paint(style, "36", remark));
    }
    out.push('\n');
    out
}

/// The lines after the last way.
pub fn closing(trials: &[Trial], style: Style) -> String {
    let wrong = trials.iter().filter(|trial| !trial.went_right()).count();
    let caught = trials.iter().filter(|trial| trial.is_caught()).count();
    let harmless = trials.iter().filter(|trial| trial.is_caught() && trial.was_harmless()).count();
    let missed: Vec<&str> = trials.iter().filter(|trial| trial.is_missed()).map(|t| t.way.name()).collect();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join(", ") };
    let harm = if harmless == caught { "these".to_owned() } else { format!("{harmless} of these") };
    let command = |command: &str| paint(style, "1", command);
    format!(
        "On the system's malloc {wrong} of {} ways went wrong. Heapkeeper caught {caught} and made {harm} \
         harmless.\nNot yet caught: {missed}.\n\n\
         Your own program:  {}   every block guarded: for tests\n                   {}     \
         one block in 5,000 guarded: for production\n",
        trials.len(),
        command("heapkeeper check -- CMD ARGS…"),
        command("heapkeeper run -- CMD ARGS…"),
    )
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
    match (trial.system.status.success(), trial.went_right()) {
        (true, true) if trial.way == Way::Never => verdict("right, memory lost", MISSED),
        (true, true) if trial.way == Way::AfterLastUse => verdict("right", GOOD),
        (true, true) => verdict("right by chance", MISSED),
        (true, false) => verdict("WRONG, no word of it", BAD),
        (false, _) => verdict("DEAD, no word of where", BAD),
    }
}

fn our_verdict(trial: &Trial) -> Verdict {
    let harmless = trial.was_harmless();
    let result = if harmless { "right" } else { "WRONG" };
    let is_blind = trial.ours.status.code() == Some(BLIND);
    match (trial.report.findings.is_empty(), trial.way) {
        _ if trial.is_caught() && harmless => verdict("right, and CAUGHT", GOOD),
        _ if trial.is_caught() => verdict("WRONG, but CAUGHT", MISSED),
        (false, _) => verdict(format!("{result}, false report"), BAD),
        (true, _) if is_blind => verdict(format!("{result}, too little seen"), MISSED),
        (true, Way::AfterLastUse) => {
            verdict(format!("{result}, nothing to report"), if harmless { GOOD } else { BAD })
        }
        (true, _) => verdict(format!("{result}, NOT YET CAUGHT"), MISSED),
    }
}

fn row(heap: &str, outcome: &Outcome, verdict: Verdict, style: Style) -> String {
    let said = if outcome.said.is_empty() { &outcome.complaint } else { &outcome.said };
    let said = said.lines().next().unwrap_or("(nothing)");
    let said = format!("{said:<33}");
    let said = if outcome.is_right() { said } else { paint(style, "31", &said) };
    let judged = paint(style, verdict.colour, &verdict.text);
    format!("{INDENT}{heap:<18}{said}{:<20}{judged}\n", outcome.end())
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

/// What the findings don't say.
fn remark(trial: &Trial) -> Option<&'static str> {
    (trial.is_caught() && !trial.was_harmless()).then_some(
        "What was freed is gone, so the answer is wrong; --on-finding abort stops the program there.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hk_report::{Address, Block, Figure, Finding, ProcessRef, StackFrame, Summary, ThreadRef};
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

    /// As `heapkeeper check` ends.
    fn ended(said: &str, code: i32) -> Outcome {
        outcome(said, code << 8)
    }

    #[test]
    fn a_caught_double_free_is_shown_with_its_report() {
        let wrong = outcome("total 10, packed 9+9+9+9", 0);
        let trial = trial(Way::Twice, wrong, ended(RIGHT_ANSWER, 97), report(vec![double_free()], 3));
        let text = trial_text(4, &trial, Style::Plain);
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
        let text = trial_text(2, &leak, Style::Plain);
        assert!(text.contains("right, NOT YET CAUGHT"), "{text}");
        let read = outcome("total 36, packed 9+9+9+9", 0);
        let stale = trial(Way::BeforeTheLoop, read.clone(), read, report(Vec::new(), 3));
        assert!(trial_text(3, &stale, Style::Plain).contains("WRONG, NOT YET CAUGHT"));
        let text = closing(&[first, leak, stale], Style::Plain);
        assert!(
            text.contains("1 of 3 ways went wrong")
                && text.contains("Not yet caught: never, before-the-loop.")
        );
    }

    #[test]
    fn a_wrong_answer_is_called_wrong_though_its_bug_was_caught() {
        let wrong = "total 0, packed 0+0+0+0";
        let found = Finding { kind: "use-after-free".into(), ..double_free() };
        let read = outcome("total 36, packed 9+9+9+9", 0);
        let stale = trial(Way::BeforeTheLoop, read, ended(wrong, 97), report(vec![found], 3));
        let text = trial_text(3, &stale, Style::Plain);
        assert!(text.contains("WRONG, but CAUGHT") && text.contains("the answer is wrong"), "{text}");
        let text = closing(&[stale], Style::Plain);
        assert!(text.contains("caught 1 and made 0 of these harmless"), "{text}");
        assert!(text.contains("Not yet caught: none."), "{text}");
    }

    #[test]
    fn a_finding_of_another_kind_does_not_pass_as_caught() {
        let stale =
            trial(Way::BeforeTheLoop, right(), ended(RIGHT_ANSWER, 97), report(vec![double_free()], 3));
        assert!(trial_text(3, &stale, Style::Plain).contains("right, false report"));
        assert!(closing(&[stale], Style::Plain).contains("Not yet caught: before-the-loop."));
    }

    #[test]
    fn a_program_that_died_on_our_heap_is_not_called_right() {
        let mut died = report(vec![double_free()], 3);
        (died.exit_status, died.exit_signal) = (None, Some(libc::SIGABRT));
        let trial = trial(Way::Twice, right(), ended(RIGHT_ANSWER, 97), died);
        assert!(trial_text(4, &trial, Style::Plain).contains("WRONG, but CAUGHT"));
    }

    #[test]
    fn a_blind_run_says_so() {
        let trial = trial(Way::Twice, right(), ended(RIGHT_ANSWER, BLIND), report(Vec::new(), 3));
        assert!(trial_text(4, &trial, Style::Plain).contains("right, too little seen"));
    }

    #[test]
    fn a_death_shows_what_was_printed_last() {
        let dead = outcome("", libc::SIGABRT);
        let trial = trial(Way::WrongAddress, dead, right(), report(Vec::new(), 3));
        let text = trial_text(5, &trial, Style::Colour);
        assert!(
            text.contains("munmap_chunk(): invalid pointer") && text.contains("killed by SIGABRT"),
            "{text}"
        );
        assert!(text.contains("\x1b[1;31mDEAD"), "{text}");
    }

    #[test]
    fn a_report_on_sound_code_would_not_pass_as_success() {
        let trial = trial(Way::AfterLastUse, right(), right(), report(vec![double_free()], 3));
        assert!(trial_text(1, &trial, Style::Plain).contains("false report"));
    }
}
