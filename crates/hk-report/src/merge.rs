//! Two reports of the same command as one: what was seen in either.

use crate::identity::{BugKey, Ids, bug_key};
use crate::model::{Certainty, Figure, Report, Summary};
use std::collections::HashMap;

/// The first report with what the second has beyond it. The end of the command is that of the first that did not end well.
pub fn merge(mut first: Report, second: Report) -> Report {
    let mut ids = Ids::default();
    let mut at: HashMap<BugKey, usize> = HashMap::new();
    for (index, finding) in first.findings.iter().enumerate() {
        at.insert(bug_key(finding), index);
        ids.take(&finding.id);
    }
    for mut finding in second.findings {
        match at.get(&bug_key(&finding)) {
            Some(&index) => {
                let known = &mut first.findings[index];
                known.repeats += finding.repeats;
                known.aborted |= finding.aborted;
                known.process_count += finding.process_count;
            }
            None => {
                finding.id = ids.distinct(finding.id);
                first.findings.push(finding);
            }
        }
    }
    first.summary = summary(&first.summary, &second.summary, first.findings.len());
    if first.exit_status == Some(0) {
        (first.exit_status, first.exit_signal) = (second.exit_status, second.exit_signal);
    }
    first.processes.extend(second.processes);
    for program in second.not_covered {
        match first.not_covered.iter_mut().find(|known| known.path == program.path) {
            Some(known) => known.times += program.times,
            None => first.not_covered.push(program),
        }
    }
    for note in second.notes {
        match first.notes.iter_mut().find(|known| known.kind == note.kind && known.message == note.message) {
            Some(known) => known.times += note.times,
            None => first.notes.push(note),
        }
    }
    for missing in second.missing_debug_info {
        if !first.missing_debug_info.contains(&missing) {
            first.missing_debug_info.push(missing);
        }
    }
    first
}

fn summary(first: &Summary, second: &Summary, findings: usize) -> Summary {
    Summary {
        findings: findings as u64,
        bad_calls: first.bad_calls + second.bad_calls,
        processes: first.processes + second.processes,
        not_covered: first.not_covered + second.not_covered,
        records_dropped: first.records_dropped + second.records_dropped,
        records_torn: first.records_torn + second.records_torn,
        live_bytes: both(first.live_bytes, second.live_bytes),
        live_blocks: both(first.live_blocks, second.live_blocks),
        // Both ran, but not at the same time.
        resident_peak_bytes: [first, second]
            .into_iter()
            .filter_map(|summary| summary.resident_peak_bytes)
            .max_by_key(|peak| peak.value),
    }
}

fn both(first: Option<Figure>, second: Option<Figure>) -> Option<Figure> {
    let (first, second) = (first?, second?);
    let exact = first.certainty == Certainty::Exact && second.certainty == Certainty::Exact;
    Some(Figure {
        value: first.value.saturating_add(second.value),
        certainty: if exact { Certainty::Exact } else { Certainty::Estimate },
        error: first.error.saturating_add(second.error),
    })
}
