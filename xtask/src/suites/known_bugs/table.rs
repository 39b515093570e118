//! The table of what each tool found, and the file with every single answer.

use crate::suites::known_bugs::cost::Cost;
use crate::suites::known_bugs::promise::Promise;
use crate::suites::known_bugs::runs::Answer;
use crate::suites::known_bugs::tools::{Seen, Tool};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the cells say.
const LEGEND: &str =
    "found / missed / false reports on twins; `~n` of the found name another kind, or not all functions";

/// Answers of one tool about one class.
#[derive(Clone, Copy, Default)]
struct Cell {
    found: usize,
    misnamed: usize,
    missed: usize,
    false_reports: usize,
    broken: usize,
}

impl Cell {
    fn count(&mut self, answer: &Answer) {
        match &answer.bug {
            Seen::Report => self.found += 1,
            Seen::Misnamed(_) => {
                self.found += 1;
                self.misnamed += 1;
            }
            Seen::Nothing => self.missed += 1,
            Seen::Broken(_) => self.broken += 1,
            Seen::Skipped(_) => {}
        }
        match &answer.twin {
            Seen::Report | Seen::Misnamed(_) => self.false_reports += 1,
            Seen::Broken(_) => self.broken += 1,
            Seen::Nothing | Seen::Skipped(_) => {}
        }
    }

    fn shown(&self) -> String {
        let misnamed = if self.misnamed > 0 { format!("~{}", self.misnamed) } else { String::new() };
        let broken = if self.broken > 0 { format!(" !{}", self.broken) } else { String::new() };
        format!("{}{misnamed} / {} / {}{broken}", self.found, self.missed, self.false_reports)
    }
}

/// Rows in the order of the matrix, a column for each tool, and what the tools cost below.
pub fn text(answers: &[Answer], costs: &BTreeMap<Tool, Cost>) -> String {
    let mut rows: Vec<String> = Vec::new();
    let mut cells: BTreeMap<(String, Tool), Cell> = BTreeMap::new();
    for answer in answers {
        let row = answer.task.variant.row();
        cells.entry((row.clone(), answer.task.tool)).or_default().count(answer);
        cells.entry(("all that is promised".into(), answer.task.tool)).or_default();
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let tools: Vec<Tool> =
        Tool::ALL.into_iter().filter(|tool| answers.iter().any(|a| a.task.tool == *tool)).collect();
    for answer in answers.iter().filter(|a| !matches!(a.task.variant.at_both, Promise::Nothing(_))) {
        if let Some(cell) = cells.get_mut(&("all that is promised".to_string(), answer.task.tool)) {
            cell.count(answer);
        }
    }
    rows.push("all that is promised".into());
    let mut text = line("", tools.iter().map(|tool| tool.name().to_string()));
    for row in rows {
        let shown = tools.iter().map(|tool| cells.get(&(row.clone(), *tool)).map_or("-".into(), Cell::shown));
        text += &line(&row, shown);
    }
    let cost = |of: fn(&Cost) -> String| tools.iter().map(move |tool| costs.get(tool).map_or("-".into(), of));
    text += &line("CPU time, plain = 1", cost(|cost| format!("{:.1}", cost.slowdown)));
    text += &line("peak memory, MiB", cost(|cost| format!("{:.1}", cost.peak_kib / 1024.0)));
    text + LEGEND + "\n"
}

fn line(head: &str, cells: impl Iterator<Item = String>) -> String {
    let mut line = format!("{head:34}");
    for cell in cells {
        let _ = write!(line, "{cell:>18}");
    }
    line.trim_end().to_string() + "\n"
}

/// Every answer, one a line, with what was expected.
pub fn raw(answers: &[Answer]) -> String {
    let mut text = String::from(
        "tool\tclass\tprogram\tword\thow\tbytes\tdistance\tlife\tkinds\tcwe\tsites\tpromised\tbug\ttwin\tverdict\n",
    );
    for answer in answers {
        let variant = answer.task.variant;
        let promised = match answer.task.tool.promise(variant) {
            Promise::AtOnce => "at once".into(),
            Promise::Late => "late".into(),
            Promise::Nothing(why) => format!("nothing: {why}"),
        };
        let cwe: Vec<String> = variant.cwe.iter().map(u32::to_string).collect();
        let verdict = match answer.verdict() {
            Some(Ok(())) => "ok".into(),
            Some(Err(text)) => flat(&text),
            None => "skipped".into(),
        };
        let fields = [
            answer.task.tool.name().into(),
            variant.class.clone(),
            variant.program.clone(),
            variant.words.join("\t"),
            variant.kinds.join(","),
            cwe.join(","),
            variant.sites.join(","),
            promised,
            shown(&answer.bug),
            shown(&answer.twin),
            verdict,
        ];
        text += &(fields.join("\t") + "\n");
    }
    text
}

fn shown(seen: &Seen) -> String {
    match seen {
        Seen::Nothing => "nothing".into(),
        Seen::Report => "report".into(),
        Seen::Misnamed(text) => format!("misnamed: {}", flat(text)),
        Seen::Skipped(text) => format!("skipped: {}", flat(text)),
        Seen::Broken(text) => format!("broken: {}", flat(text)),
    }
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
