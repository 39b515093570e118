//! Two reports of the same command as one: what was seen in either.

use crate::identity::{Bugs, Ids, bug_key, count_in, is_damage_of};
use crate::model::{Certainty, Figure, Finding, Report, Summary};

/// The first report with what the second has beyond it. The end of the command is that of the first that did not end well.
pub fn merge(mut first: Report, second: Report) -> Report {
    findings(&mut first.findings, second.findings);
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

fn findings(first: &mut Vec<Finding>, mut second: Vec<Finding>) {
    drop_damage(first, &mut second);
    drop_damage(&mut second, first);
    let mut ids = Ids::default();
    let mut bugs = Bugs::default();
    for (index, finding) in first.iter().enumerate() {
        bugs.insert(bug_key(finding), index);
        ids.take(&finding.id);
    }
    for mut finding in second {
        match bugs.get(&bug_key(&finding)) {
            Some(&index) => count_in(&mut first[index], finding),
            None => {
                finding.id = ids.distinct(finding.id);
                first.push(finding);
            }
        }
    }
}

/// Of damage whose access was seen in the other run only the access is told.
fn drop_damage(from: &mut Vec<Finding>, other: &mut [Finding]) {
    from.retain(|damage| match other.iter_mut().find(|seen| is_damage_of(damage, seen)) {
        Some(seen) => {
            seen.repeats += damage.repeats;
            false
        }
        None => true,
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Access, Address, Block, StackFrame};

    fn finding(id: &str, function: &str, line: u32) -> Finding {
        let frame = StackFrame { function: Some(function.into()), line: Some(line), ..StackFrame::default() };
        Finding { id: id.into(), repeats: 1, process_count: 1, stack: vec![frame], ..Finding::default() }
    }

    fn write_before(evidence: &str, offset: i64, line: u32) -> Finding {
        let block = Block { start: Address(0x1000), bytes: 29, offset };
        let access = Access { kind: "write".into(), bytes: Some(4), instruction: None };
        Finding {
            kind: "underrun-write".into(),
            evidence: evidence.into(),
            block: Some(block),
            access: Some(access),
            ..finding(&format!("HK-UW-{line}"), evidence, line)
        }
    }

    #[test]
    fn damage_whose_access_was_seen_in_the_other_run_is_no_finding_of_its_own() {
        let mut all = vec![write_before("canary", -4, 1), write_before("canary", -40, 2)];
        findings(&mut all, vec![write_before("trap", -4, 3)]);
        let told: Vec<(&str, u64)> = all.iter().map(|f| (f.id.as_str(), f.repeats)).collect();
        assert_eq!(told, [("HK-UW-2", 1), ("HK-UW-3", 2)]);
    }

    #[test]
    fn the_same_bug_is_counted_and_another_of_the_same_name_has_a_number() {
        let mut all = vec![finding("HK-DF-1234abcd", "a", 1), finding("HK-DF-1234abcd-2", "a", 2)];
        findings(&mut all, vec![finding("HK-DF-1234abcd", "a", 2), finding("HK-DF-1234abcd", "a", 3)]);
        let told: Vec<(&str, u64)> = all.iter().map(|f| (f.id.as_str(), f.repeats)).collect();
        assert_eq!(told, [("HK-DF-1234abcd", 1), ("HK-DF-1234abcd-2", 2), ("HK-DF-1234abcd-3", 1)]);
    }
}
