//! One finding. Its first lines say what was done, to what, and by whom; the rest is for whoever goes on to read.

use super::{Lines, View, clean, life, stack, verdict};
use crate::fold::file_name;
use crate::model::{Culprit, Finding};
use crate::units::count;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The finding's lines.
pub fn finding_text<'a>(finding: &Finding, view: impl Into<View<'a>>) -> String {
    let view = view.into();
    let style = view.style;
    let mut lines = Lines::default();
    let sentence = clean(&finding.message);
    let (head, tail) = sentence.split_once(": ").unwrap_or((&sentence, ""));
    lines.push(&format!("{}: {}", style.bad(head), style.strong(tail)));
    if !finding.id.is_empty() {
        lines.push(&format!("  {}", identity(finding)));
    }
    // Without a life all that is known is the bad call, whose stack follows.
    let culprit = finding.culprit.as_ref().filter(|_| finding.life.is_some());
    if let Some(culprit) = culprit {
        lines.push(&culprit_line(culprit, view));
    }
    match &finding.life {
        Some(life) => life::push(&mut lines, finding, life, view),
        None => stack::push(&mut lines, &finding.stack, &finding.stack_state, "  ", view),
    }
    if let Some(culprit) = culprit.filter(|culprit| culprit.reasons.len() > 1) {
        lines.push(&format!("  {}", style.strong(&format!("WHY {}", clean(&culprit.function)))));
        for reason in &culprit.reasons {
            lines.push(&format!("    {}", clean(reason)));
        }
    }
    verdict::push(&mut lines, finding, view);
    next(&mut lines, finding, view);
    if view.full {
        raw(&mut lines, finding, view);
    }
    lines.text
}

/// The id, how often, and who saw it.
fn identity(finding: &Finding) -> String {
    let mut line = finding.id.clone();
    if finding.repeats > 1 {
        let _ = write!(line, ", seen {} times", finding.repeats);
    }
    if finding.process_count > 1 {
        let _ = write!(line, " in {}", count(finding.process_count, "process"));
    }
    match (finding.status.as_str(), &finding.suppressed_by) {
        ("known", _) => line.push_str(", known"),
        ("suppressed", Some(by)) => {
            let _ = write!(line, ", suppressed by {}", clean(by));
        }
        _ => {}
    }
    let _ = write!(line, ", thread {} ({})", clean(&finding.thread.name), finding.thread.id);
    let exe = clean(file_name(&finding.process.exe));
    let _ = write!(line, ", process {exe} ({})", finding.process.pid);
    line
}

/// One reason stands beside the name; more have lines of their own.
fn culprit_line(culprit: &Culprit, view: View<'_>) -> String {
    let place = culprit.place.as_deref().map_or(String::new(), |place| format!("  {}", clean(place)));
    let why = match &culprit.reasons[..] {
        [reason] => format!("inference: {}", clean(reason)),
        _ => "inference: see WHY".into(),
    };
    let name = view.style.strong(&clean(&culprit.function));
    format!("  likely culprit: {name}{place}  (confidence {}; {why})", clean(&culprit.confidence))
}

/// Commands to type.
fn next(lines: &mut Lines, finding: &Finding, view: View<'_>) {
    let mut commands = Vec::new();
    if let Some(recording) = view.recording.filter(|_| !view.full && !finding.id.is_empty()) {
        commands.push(format!("heapkeeper report {recording} --id {}", finding.id));
    }
    commands.extend(view.check.filter(|_| verdict::life_is_missing(finding)).map(str::to_owned));
    for (at, command) in commands.iter().enumerate() {
        let label = if at == 0 { view.style.strong("NEXT") } else { "    ".into() };
        lines.push(&format!("  {label}  {command}"));
    }
}

/// What the short form leaves out: the instruction, addresses, and which builds of which files were there.
fn raw(lines: &mut Lines, finding: &Finding, view: View<'_>) {
    if let Some(instruction) = finding.access.as_ref().and_then(|access| access.instruction.as_deref()) {
        lines.push(&format!("  instruction  {}", clean(instruction)));
    }
    if let Some(life) = &finding.life {
        let aligned = match life.align_bytes {
            0 | 1 => String::new(),
            align => format!(" aligned to {align}"),
        };
        lines.push(&format!(
            "  pages {:#x}-{:#x}, asked for {}{aligned}",
            life.pages_start.0,
            life.pages_end.0,
            count(life.requested_bytes, "byte"),
        ));
    }
    let events = finding.life.iter().flat_map(|life| life.freed.iter().chain([&life.allocated]));
    let stacks = events.map(|event| &event.stack).chain([&finding.stack]);
    let modules: BTreeSet<&str> = stacks.flatten().filter_map(|frame| frame.module.as_deref()).collect();
    for module in modules {
        let id = view.builds.and_then(|builds| builds.get(module)).map_or("no build id", String::as_str);
        lines.push(&format!("  module {}  {id}", clean(module)));
    }
}
