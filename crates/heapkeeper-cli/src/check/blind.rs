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
    if let Some(note) = note("traps-lost").or_else(|| note("no-scan")) {
        return Some(clean(&note.message));
    }
    let unguarded: u64 = report.processes.iter().map(|process| process.unguarded_blocks).sum();
    match note("guards-thinned") {
        Some(note) if all_guarded => Some(clean(&note.message)),
        _ if all_guarded && unguarded > 0 => Some(format!(
            "{} went unguarded, as there was no memory left for their guards or a sandbox forbids them",
            count(unguarded, "block")
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hk_report::{Figure, Figures, NotCovered, Note, Process, Summary};

    fn note(kind: &str) -> Note {
        Note { kind: kind.into(), message: format!("a note on {kind}"), pid: 7, times: 1 }
    }

    fn report(unguarded_blocks: u64, notes: Vec<Note>) -> Report {
        let none = Figure::exact(0);
        let figures = Figures {
            live_bytes: none,
            live_blocks: Some(none),
            live_peak_bytes: none,
            heap_bytes: none,
            heap_peak_bytes: none,
            resident_bytes: None,
        };
        let process = Process {
            pid: 7,
            ppid: 1,
            exe: "/bin/orders".into(),
            mode: "manual".into(),
            state: "counted".into(),
            forked: false,
            second_heap: false,
            bad_calls: 0,
            thread_heaps: 1,
            guard_every: 1,
            guard_method: "guard-pages".into(),
            guarded_blocks: 5,
            unguarded_blocks,
            sweeps: None,
            figures,
        };
        Report {
            schema: hk_report::SCHEMA.into(),
            version: hk_report::SCHEMA_VERSION,
            heapkeeper: "0".into(),
            command: None,
            exit_status: Some(0),
            exit_signal: None,
            summary: Summary { processes: 1, ..Summary::default() },
            findings: Vec::new(),
            processes: vec![process],
            not_covered: Vec::new(),
            notes,
            missing_debug_info: Vec::new(),
        }
    }

    #[test]
    fn a_run_that_was_seen_whole_is_not_blind() {
        assert_eq!(reason(&report(0, vec![note("foreign-owner")]), true), None);
        let mut partly = report(0, Vec::new());
        partly.not_covered.push(NotCovered {
            path: "/bin/x".into(),
            reason: "static".into(),
            pid: 8,
            times: 1,
        });
        assert_eq!(reason(&partly, true), None);
    }

    #[test]
    fn unguarded_blocks_count_if_all_were_to_be_guarded() {
        assert_eq!(reason(&report(3, Vec::new()), false), None);
        let why = reason(&report(3, Vec::new()), true).unwrap();
        assert!(why.starts_with("3 blocks went unguarded"), "{why}");
        let thinned = report(0, vec![note("guards-thinned")]);
        assert_eq!(
            (reason(&thinned, false), reason(&thinned, true)),
            (None, Some("a note on guards-thinned".into()))
        );
        let lost = report(0, vec![note("traps-lost")]);
        assert!(reason(&lost, false).is_some() && reason(&lost, true).is_some());
    }

    #[test]
    fn a_program_on_the_systems_malloc_was_not_seen() {
        let why = reason(&report(0, vec![note("no-heap")]), true).unwrap();
        assert_eq!(why, "nothing of this run was covered: a note on no-heap");
        let mut none = report(0, Vec::new());
        (none.summary.processes, none.processes) = (0, Vec::new());
        assert_eq!(
            reason(&none, true).unwrap(),
            "nothing of this run was covered: the library was not loaded"
        );
    }
}
