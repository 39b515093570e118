//! What happened to a block, in order: it was allocated, freed, and then came the bad call or access.

use crate::model::{Finding, StackFrame, ThreadRef};

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The allocation.
    Allocated,
    /// The free.
    Freed,
    /// What the finding is about.
    Misused,
}

/// One of a block's moments.
pub(crate) struct Moment<'a> {
    pub(crate) turn: Turn,
    /// In a word or some: `allocated`, `freed again`.
    pub(crate) label: &'static str,
    /// In nanoseconds since the process's start.
    pub(crate) time_ns: u64,
    pub(crate) thread: &'a ThreadRef,
    pub(crate) stack: &'a [StackFrame],
    pub(crate) stack_state: &'a str,
}

/// The moments that are known, the misuse last.
pub(crate) fn moments(finding: &Finding) -> Vec<Moment<'_>> {
    let life = finding.life.as_ref();
    let allocated = life.map(|life| (Turn::Allocated, "allocated", &life.allocated));
    let freed = life.and_then(|life| life.freed.as_ref()).map(|event| (Turn::Freed, "freed", event));
    let events = allocated.into_iter().chain(freed).map(|(turn, label, event)| Moment {
        turn,
        label,
        time_ns: event.time_ns,
        thread: &event.thread,
        stack: &event.stack,
        stack_state: &event.stack_state,
    });
    let misused = Moment {
        turn: Turn::Misused,
        label: misuse(finding),
        time_ns: finding.time_ns,
        thread: &finding.thread,
        stack: &finding.stack,
        // At the exit nobody makes a call: that there is no stack is no loss.
        stack_state: if matches!(finding.call.as_str(), "exit" | "scan") { "" } else { &finding.stack_state },
    };
    events.chain([misused]).collect()
}

/// What was done last, as a participle like the others.
fn misuse(finding: &Finding) -> &'static str {
    if finding.evidence == "canary" {
        return if finding.call == "exit" { "damage found at exit" } else { "damage found" };
    }
    if finding.leak.is_some() {
        return "found lost";
    }
    if let Some(access) = &finding.access {
        return match access.kind.as_str() {
            "write" => "written",
            "execute" => "jumped to",
            _ => "read",
        };
    }
    match (finding.call.as_str(), finding.kind.as_str()) {
        ("realloc", _) => "reallocated",
        ("malloc-usable-size", _) => "asked for its size",
        ("seen-later", _) => "second free noticed",
        (_, "double-free") => "freed again",
        (_, "mismatched-deallocation" | "wrong-layout") => "freed wrongly",
        _ => "freed",
    }
}
