//! What the run covered, and what a reader should know of it: the end of the page.

use crate::fold::file_name;
use crate::markup::escaped;
use crate::model::{Certainty, Figure, Process, Report};
use crate::units::{bytes, count};
use std::fmt::Write;

/// A build has thousands of processes; the JSON report has them all.
const PROCESSES_MAX: usize = 50;

/// The section.
pub(super) fn section(report: &Report) -> String {
    let mut html = String::from(
        "<section class=\"run\" id=\"run\" aria-labelledby=\"run-head\">\n<h2 id=\"run-head\">The run</h2>\n",
    );
    html.push_str(&processes(report));
    let programs = report.not_covered.iter().map(|program| {
        let times = if program.times > 1 { format!(", {} times", program.times) } else { String::new() };
        format!("<code>{}</code>{times}: {}", escaped(&program.path), escaped(&program.reason))
    });
    html.push_str(&list("Programs that were not covered", programs));
    html.push_str(&list("Notes", notes(report).into_iter()));
    let missing = report.missing_debug_info.iter().map(|missing| {
        let build_id = match missing.build_id.as_str() {
            "" => String::new(),
            id => format!(" <span class=\"hint\">build id <code>{}</code></span>", escaped(id)),
        };
        format!("<code>{}</code>: {}{build_id}", escaped(&missing.module), escaped(&missing.reason))
    });
    html.push_str(&list("Modules without source lines", missing));
    let _ = write!(
        html,
        "<p class=\"hint\">Made by heapkeeper {}. This page holds names, lines and addresses, but no \
         contents of the program's memory.</p>\n</section>\n",
        escaped(&report.heapkeeper)
    );
    html
}

fn list(title: &str, items: impl Iterator<Item = String>) -> String {
    let items: String = items.map(|item| format!("<li>{item}</li>\n")).collect();
    if items.is_empty() { items } else { format!("<h3>{title}</h3>\n<ul>\n{items}</ul>\n") }
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes: Vec<String> = report
        .notes
        .iter()
        .map(|note| {
            let times = if note.times > 1 { format!(" ({} times)", note.times) } else { String::new() };
            escaped(&note.message) + &times
        })
        .collect();
    let summary = &report.summary;
    if summary.records_dropped > 0 {
        let records = count(summary.records_dropped, "record");
        notes.push(format!("{records} did not fit into the recording: findings may be missing here"));
    }
    if summary.records_torn > 0 {
        let records = count(summary.records_torn, "record");
        notes.push(format!("{records} begun and not finished: the process ended meanwhile"));
    }
    notes
}

/// Those with bad calls first.
fn processes(report: &Report) -> String {
    let mut all: Vec<&Process> = report.processes.iter().collect();
    all.sort_by_key(|process| std::cmp::Reverse(process.bad_calls));
    let rows: String = all.iter().take(PROCESSES_MAX).map(|process| row(process)).collect();
    let more = match all.len().saturating_sub(PROCESSES_MAX) {
        0 => String::new(),
        more => format!("<p class=\"hint\">{} are not shown.</p>\n", count(more as u64, "more process")),
    };
    format!(
        "<h3>Processes</h3>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Processes\">\n\
         <table>\n<thead><tr>\
         <th scope=\"col\">Process</th><th scope=\"col\">Bad calls</th><th scope=\"col\">Guarded blocks</th>\
         <th scope=\"col\">Live at the end</th><th scope=\"col\">Live at its peak</th>\
         <th scope=\"col\">Heap at its peak</th>\
         </tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{more}"
    )
}

fn row(process: &Process) -> String {
    let forked = match (process.second_heap, process.forked) {
        (true, _) => ", a second heap in it",
        (false, true) => ", by fork",
        (false, false) => "",
    };
    let guarded = match (process.guarded_blocks, process.guard_every) {
        (0, _) => "none".into(),
        (blocks, 0) => blocks.to_string(),
        (blocks, 1) => format!("{blocks} (every one)"),
        (blocks, every) => format!("{blocks} (1 in {every})"),
    };
    let figures = &process.figures;
    let blocks = match &figures.live_blocks {
        Some(blocks) => format!(" in {}", count(blocks.value, "block")),
        None => String::new(),
    };
    let name = if process.exe.is_empty() { "unknown" } else { file_name(&process.exe) };
    format!(
        "<tr><th scope=\"row\"><code>{}</code> ({}{forked})</th><td>{}</td>\
         <td>{guarded}</td><td>{}{blocks}</td><td>{}</td><td>{}</td></tr>\n",
        escaped(name),
        process.pid,
        process.bad_calls,
        figure(&figures.live_bytes),
        figure(&figures.live_peak_bytes),
        figure(&figures.heap_peak_bytes),
    )
}

/// Estimates are bounds.
fn figure(figure: &Figure) -> String {
    match figure.certainty {
        Certainty::Exact => bytes(figure.value),
        Certainty::Estimate => format!("at most {}", bytes(figure.value.saturating_add(figure.error))),
    }
}
