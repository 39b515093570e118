//! The life of a block: allocated, freed, misused. Times count from the allocation.

use super::{Lines, View, clean, stack};
use crate::model::{Finding, Life, StackFrame, ThreadRef};
use crate::units::{bytes, duration};

/// What happened to the block at one time.
struct Moment<'a> {
    what: String,
    /// Nanoseconds since the allocation.
    after_ns: u64,
    thread: &'a ThreadRef,
    stack: &'a [StackFrame],
    stack_state: &'a str,
}

pub(super) fn push(lines: &mut Lines, finding: &Finding, life: &Life, view: View<'_>) {
    let family = match life.allocated.family.as_str() {
        "new" => ", from new",
        "new-array" => ", from new[]",
        "rust" => ", from Rust's alloc",
        "malloc" => ", from malloc",
        _ => "",
    };
    let start = finding.block.as_ref().map_or(finding.address, |block| block.start).0;
    lines.push(&format!(
        "  {} at {start:#x}: {}{family}, allocated {} after the program's start",
        view.style.strong("LIFE OF THE BLOCK"),
        bytes(life.requested_bytes),
        duration(life.allocated.time_ns)
    ));
    let moments = moments(finding, life);
    let widths = |text: &dyn Fn(&Moment<'_>) -> usize| moments.iter().map(text).max().unwrap_or(0);
    let (what, when) = (widths(&|moment| moment.what.len()), widths(&|moment| after(moment).chars().count()));
    for moment in &moments {
        moment_lines(lines, moment, (what, when), view);
    }
}

fn moments<'a>(finding: &'a Finding, life: &'a Life) -> Vec<Moment<'a>> {
    let since = |time_ns: u64| time_ns.saturating_sub(life.allocated.time_ns);
    let mut moments = vec![Moment {
        what: "allocated".into(),
        after_ns: 0,
        thread: &life.allocated.thread,
        stack: &life.allocated.stack,
        stack_state: &life.allocated.stack_state,
    }];
    moments.extend(life.freed.as_ref().map(|freed| Moment {
        what: "freed".into(),
        after_ns: since(freed.time_ns),
        thread: &freed.thread,
        stack: &freed.stack,
        stack_state: &freed.stack_state,
    }));
    moments.push(Moment {
        what: misuse(finding),
        after_ns: since(finding.time_ns),
        thread: &finding.thread,
        stack: &finding.stack,
        stack_state: &finding.stack_state,
    });
    moments
}

/// The bad call or access in a word or two.
fn misuse(finding: &Finding) -> String {
    let access = finding.access.as_ref().map_or("", |access| access.kind.as_str());
    match (finding.call.as_str(), access) {
        _ if finding.evidence == "canary" => "damage found",
        ("exit", _) => "lost at exit",
        ("scan", _) => "found lost",
        ("system-call", _) => "system call",
        ("access", "write") => "WRITTEN",
        ("access", "execute") => "JUMPED TO",
        ("access", _) => "READ",
        ("realloc", _) => "REALLOCATED",
        ("malloc-usable-size", _) => "ASKED ABOUT",
        ("seen-later", _) => "came upon",
        _ if finding.kind == "double-free" => "FREED AGAIN",
        _ => "FREED",
    }
    .into()
}

fn after(moment: &Moment<'_>) -> String {
    match moment.after_ns {
        0 => "+0".into(),
        ns => format!("+{}", duration(ns)),
    }
}

fn moment_lines(lines: &mut Lines, moment: &Moment<'_>, (what, when): (usize, usize), view: View<'_>) {
    let head = format!("    {:what$}  {:>when$}  ", moment.what, after(moment));
    let thread = view.style.dim(&format!("thread {} ({})", clean(&moment.thread.name), moment.thread.id));
    if view.full {
        lines.push(&format!("{head}{thread}"));
        stack::push(lines, moment.stack, moment.stack_state, "      ", view);
        return;
    }
    if moment.stack.is_empty() && moment.stack_state == "whole" {
        // Nobody did it.
        lines.push(head.trim_end());
        return;
    }
    let chain = stack::chain(moment.stack, moment.stack_state, view.style);
    lines.push(&format!("{head}{chain}  {thread}"));
    if let Some(source) = stack::source_of(moment.stack) {
        lines.push(&format!("{:1$}{2}", "", head.chars().count(), view.style.dim(&format!("| {source}"))));
    }
}
