//! What a run came to, in lines.

use super::{Lines, clean};
use crate::fold::{file_name, is_library};
use crate::model::*;
use crate::sentence::title;
use crate::status::is_new;
use crate::style::Style;
use crate::units::{bytes, count};
use std::collections::HashSet;

fn repeats_lines(lines: &mut Lines, report: &Report) {
    for finding in report.findings.iter().filter(|finding| finding.repeats > 1 && is_new(finding)) {
        let processes = match finding.process_count {
            1 => String::new(),
            n => format!(" in {}", count(n, "process")),
        };
        lines.push(&format!(
            "  seen {} times{processes}, first: {}",
            finding.repeats,
            clean(&finding.message)
        ));
    }
}

/// What the run came to.
pub fn summary_text(report: &Report, style: Style) -> String {
    let mut lines = Lines::default();
    lines.push(&headline(report, style));
    repeats_lines(&mut lines, report);
    if let Some(main) = main_process(report) {
        process_lines(&mut lines, report, main);
        guard_line(&mut lines, main);
        sweep_lines(&mut lines, main);
        others_line(&mut lines, report);
    }
    for program in &report.not_covered {
        let times = if program.times > 1 { format!(", {} times", program.times) } else { String::new() };
        lines.push(&format!("not covered: {}{times}: {}", clean(&program.path), clean(&program.reason)));
    }
    for note in &report.notes {
        let times = if note.times > 1 { format!(" ({} times)", note.times) } else { String::new() };
        lines.push(&format!("note: {}{times}", clean(&note.message)));
    }
    loss_line(&mut lines, &report.summary);
    missing_lines(&mut lines, report);
    lines.text
}

fn headline(report: &Report, style: Style) -> String {
    let summary = &report.summary;
    let processes = match (summary.processes, summary.not_covered) {
        (n, 0) => count(n, "process"),
        (n, missed) => format!("{}, {} not covered", count(n, "process"), count(missed, "program")),
    };
    if summary.findings == 0 {
        let is_cut = report.notes.iter().any(|note| note.kind == "cut-short");
        let part = if is_cut { "what is left of the recording: " } else { "" };
        return format!("no findings in {part}{processes}");
    }
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for finding in &report.findings {
        let name = title(&finding.kind);
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, n)) => *n += 1,
            None => kinds.push((name, 1)),
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let findings = style.bad(&count(summary.findings, "finding"));
    let calls = match summary.bad_calls {
        n if n == summary.findings => String::new(),
        n => format!(", {}", count(n, "bad call")),
    };
    format!("{findings} ({}{calls}) in {processes}{}", kinds.join(", "), statuses(report))
}

/// `: 1 new, 2 known`, where not all are new.
fn statuses(report: &Report) -> String {
    let number = |status: &str| report.findings.iter().filter(|finding| finding.status == status).count();
    let numbers = ["new", "known", "suppressed"].map(|status| (number(status), status));
    match numbers {
        [_, (0, _), (0, _)] => String::new(),
        numbers => {
            let parts = numbers.iter().filter(|(n, _)| *n > 0).map(|(n, status)| format!("{n} {status}"));
            format!(": {}", parts.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The process that the run began with, under the program that it last was.
fn main_process(report: &Report) -> Option<&Process> {
    let pid = report.processes.first()?.pid;
    report
        .processes
        .iter()
        .rev()
        .find(|process| process.pid == pid && !process.forked && !process.second_heap)
}

fn process_lines(lines: &mut Lines, report: &Report, process: &Process) {
    let name = format!("{} ({})", clean(file_name(&process.exe)), process.pid);
    let figures = &process.figures;
    let live_at_end = match &figures.live_blocks {
        Some(blocks) => {
            let how =
                if blocks.certainty == Certainty::Exact { "exact" } else { "estimate: other threads ran" };
            format!("{} live in {} ({how})", bytes(figures.live_bytes.value), count(blocks.value, "block"))
        }
        None => live(&figures.live_bytes),
    };
    let resident = match &figures.resident_bytes {
        Some(resident) => format!(", {} resident (exact)", bytes(resident.value)),
        None => String::new(),
    };
    let end = match process.state.as_str() {
        "counted" | "counted-roughly" => "at exit",
        "replaced" => "at exec",
        _ if report.exit_signal.is_some() => "when it was killed",
        _ => "when last seen (it ended without telling, or still runs)",
    };
    lines.push(&format!("{name} {end}: {live_at_end}{resident}"));
    // Before an exec the process was another program, with a heap of its own, but it is the same process that had the memory.
    let images = || report.processes.iter().filter(|image| image.pid == process.pid && !image.second_heap);
    let peaks = images().map(|image| &image.figures.live_peak_bytes).max_by_key(|peak| peak.value);
    let peak = peaks.unwrap_or(&figures.live_peak_bytes);
    let heap_peak = images().map(|image| image.figures.heap_peak_bytes.value).max().unwrap_or_default();
    let resident = match &report.summary.resident_peak_bytes {
        Some(resident) if resident.certainty == Certainty::Exact => {
            format!(", {} resident (exact, with children)", bytes(resident.value))
        }
        Some(resident) => format!(", {} resident at most", bytes(resident.value)),
        None => String::new(),
    };
    // Guarded blocks have pages of their own.
    let beside = if process.guarded_blocks > 0 { " beside guarded blocks" } else { "" };
    lines.push(&format!(
        "{name} at its peak: {}, {} of heap{beside} (exact){resident}",
        live(peak),
        bytes(heap_peak),
    ));
}

/// How many blocks were watched: nothing found among few means little.
fn guard_line(lines: &mut Lines, process: &Process) {
    if process.guard_every == 0 && process.guarded_blocks == 0 {
        return;
    }
    let rate = match process.guard_every {
        0 => "those of certain sites".into(),
        1 => "every one".into(),
        every => format!("1 in {every}"),
    };
    let method = if process.guard_method == "protection" { "mprotect" } else { "guard pages" };
    let missed = match process.unguarded_blocks {
        0 => String::new(),
        1 => "; 1 more was to be, and was not".into(),
        n => format!("; {n} more were to be, and were not"),
    };
    let blocks = count(process.guarded_blocks, "block");
    lines.push(&format!(
        "{} ({}): {blocks} guarded by {method} ({rate}){missed}",
        clean(file_name(&process.exe)),
        process.pid
    ));
}

/// What came of the quarantine, and what it cost.
fn sweep_lines(lines: &mut Lines, process: &Process) {
    let Some(sweeps) = &process.sweeps else { return };
    let name = format!("{} ({})", clean(file_name(&process.exe)), process.pid);
    if sweeps.count + sweeps.dropped == 0 {
        return lines.push(&format!("{name}: too little was freed for a sweep of the quarantine"));
    }
    let dropped = match sweeps.dropped {
        0 => String::new(),
        n => format!(", {n} more given up"),
    };
    lines.push(&format!(
        "{name}: {}{dropped} released {} ({}); pointers remained to {} ({})",
        count(sweeps.count, "sweep"),
        count(sweeps.released_blocks, "freed block"),
        bytes(sweeps.released_bytes),
        sweeps.held_blocks,
        bytes(sweeps.held_bytes),
    ));
    let stalls = match sweeps.stalls {
        0 => String::new(),
        n => format!(
            "; threads waited {} for a sweep, {} in all",
            count(n, "time"),
            duration(sweeps.stall_us_total)
        ),
    };
    lines.push(&format!(
        "{name}: sweeps took {} of processor time, and stopped the program for at most {}, {} in all{stalls}",
        duration(sweeps.sweeper_us),
        duration(sweeps.stop_us_max),
        duration(sweeps.stop_us_total),
    ));
}

/// Microseconds for a person.
fn duration(us: u64) -> String {
    if us >= 10_000_000 { format!("{:.1} s", us as f64 / 1e6) } else { format!("{:.1} ms", us as f64 / 1e3) }
}

/// Estimates are bounds: they count groups of blocks of which one is live, and what threads have not added up yet.
fn live(figure: &Figure) -> String {
    match figure.certainty {
        Certainty::Exact => format!("{} live (exact)", bytes(figure.value)),
        Certainty::Estimate => format!("at most {} live (estimate)", bytes(figure.value + figure.error)),
    }
}

/// Processes beside the first, in one line: a build has thousands.
fn others_line(lines: &mut Lines, report: &Report) {
    let main = report.processes.first().map(|process| process.pid);
    let others: Vec<&Process> = report.processes.iter().filter(|process| Some(process.pid) != main).collect();
    let Some(largest) = others.iter().max_by_key(|process| process.figures.live_peak_bytes.value) else {
        return;
    };
    let pids: HashSet<u32> = others.iter().map(|process| process.pid).collect();
    lines.push(&format!(
        "{}: the largest was {} ({}), at its peak {}",
        count(pids.len() as u64, "other process"),
        clean(file_name(&largest.exe)),
        largest.pid,
        live(&largest.figures.live_peak_bytes),
    ));
}

fn loss_line(lines: &mut Lines, summary: &Summary) {
    if summary.records_dropped > 0 {
        lines.push(&format!(
            "note: {} did not fit into the recording, so findings may be missing here",
            count(summary.records_dropped, "record")
        ));
    }
    if summary.records_torn > 0 {
        let torn = count(summary.records_torn, "record");
        lines.push(&format!("note: {torn} was begun and not finished, as its process ended meanwhile"));
    }
}

/// Modules without lines that a reader's own frames lie in; those of the system's libraries are no loss.
fn missing_lines(lines: &mut Lines, report: &Report) {
    let frames = report.findings.iter().flat_map(|finding| &finding.stack);
    let own: HashSet<&str> = frames.filter(|f| !is_library(f)).filter_map(|f| f.module.as_deref()).collect();
    for missing in report.missing_debug_info.iter().filter(|m| own.contains(m.module.as_str())) {
        let build_id = match missing.build_id.as_str() {
            "" => "it has no build id".into(),
            id => format!("build id {id}"),
        };
        let module = clean(&missing.module);
        lines.push(&format!("note: no source lines for {module}: {} ({build_id})", missing.reason));
    }
}
