//! Whether so little was seen that "nothing found" means nothing.

use hk_report::{Report, clean, count};

/// Why we were blind, in one sentence; None if we were not.
pub fn reason(report: &Report, all_guarded: bool) -> Option<String> {
    let note = |kind: &str| report.notes.iter().find(|note| note.kind == kind);
    let without_heap = note("no-heap").map_or(0, |note| note.times);
    if report.summary.processes <= without_heap {
        return Some(match (report.not_covered.first(), note("no-heap")) {
            (Some(program), _) => {
                format!(
                    "nothing of this run was covered: {}: {}",
                    clean(&program.path),
                    clean(&program.reason)
                )
            }
            (None, Some(note)) => format!("nothing of this run was covered: {}", clean(&note.message)),
            (None, None) => "nothing of this run was covered: the library was not loaded".into(),
        });
    }
    if let Some(note) = note("traps-lost") {
        return Some(clean(&note.message));
    }
    let unguarded: u64 = report.processes.iter().map(|process| process.unguarded_blocks).sum();
    match note("guards-thinned") {
        Some(note) if all_guarded => Some(clean(&note.message)),
        _ if all_guarded && unguarded > 0 => Some(format!(
            "{} went unguarded, as there was no memory left for their guards",
            count(unguarded, "block")
        )),
        _ => None,
    }
}
