//! Which findings are new, known or suppressed: by the baseline and the suppressions of a project.

use crate::baseline::{Baseline, KnownFinding};
use crate::model::{Finding, Report};
use crate::suppress::{Date, Suppression};
use crate::units::count;
use std::collections::{BTreeMap, HashSet};

/// What findings are measured against.
#[derive(Clone, Debug)]
pub struct Judge {
    suppressions: Vec<Suppression>,
    baseline: Option<Baseline>,
    today: Date,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Findings that nobody knew of.
    pub new: u64,
    /// Those of the baseline.
    pub known: u64,
    /// Those that are suppressed.
    pub suppressed: u64,
    /// Of the baseline, those that were not seen in this run.
    pub not_seen: Vec<KnownFinding>,
    /// Sentences on suppressions that ended, or that cover too few calls.
    pub remarks: Vec<String>,
    /// Suppressions that nothing was there for.
    pub unused: Vec<String>,
    /// Why suppressions can never be about anything, and how many.
    pub not_applicable: BTreeMap<String, u64>,
}

impl Judge {
    /// On the day given.
    pub fn new(suppressions: Vec<Suppression>, baseline: Option<Baseline>, today: Date) -> Judge {
        Judge { suppressions, baseline, today }
    }

    /// Marks a finding that was just made, as far as that can be said before the end: of how many calls it will be nobody knows.
    pub fn preview(&self, finding: &mut Finding) {
        let suppression = self.suppressions.iter().find(|s| self.holds(s) && s.is_about(finding));
        self.mark(finding, suppression);
    }

    /// Marks the findings of a whole report.
    pub fn judge(&self, report: &mut Report) -> Judgement {
        let mut covered = vec![0u64; self.suppressions.len()];
        let mut judgement = Judgement::default();
        for finding in &mut report.findings {
            let about = self.suppressions.iter().enumerate().find(|(at, s)| {
                let calls = covered[*at].saturating_add(finding.repeats);
                self.holds(s) && s.is_about(finding) && s.max.is_none_or(|max| calls <= max)
            });
            if let Some((at, _)) = about {
                covered[at] += finding.repeats;
            }
            self.mark(finding, about.map(|(_, suppression)| suppression));
            match finding.status.as_str() {
                "suppressed" => judgement.suppressed += 1,
                "known" => judgement.known += 1,
                _ => judgement.new += 1,
            }
        }
        judgement.not_seen = self.not_seen(&report.findings);
        self.remark(&report.findings, &covered, &mut judgement);
        judgement
    }

    fn holds(&self, suppression: &Suppression) -> bool {
        suppression.until.is_none_or(|until| self.today <= until)
    }

    fn mark(&self, finding: &mut Finding, suppression: Option<&Suppression>) {
        finding.suppressed_by = suppression.map(|s| format!("{} ({})", s.name, s.place));
        let is_known = self.baseline.as_ref().is_some_and(|baseline| baseline.knows(&finding.id));
        finding.status = match (suppression, is_known) {
            (Some(_), _) => "suppressed",
            (None, true) => "known",
            (None, false) => "new",
        }
        .into();
    }

    fn not_seen(&self, findings: &[Finding]) -> Vec<KnownFinding> {
        let seen: HashSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
        let known = self.baseline.iter().flat_map(|baseline| &baseline.findings);
        known.filter(|known| !seen.contains(known.id.as_str())).cloned().collect()
    }

    fn remark(&self, findings: &[Finding], covered: &[u64], judgement: &mut Judgement) {
        for (suppression, &covered) in self.suppressions.iter().zip(covered) {
            if let Some(why) = suppression.not_applicable() {
                *judgement.not_applicable.entry(why.into()).or_default() += 1;
                continue;
            }
            let about: Vec<&Finding> =
                findings.iter().filter(|finding| suppression.is_about(finding)).collect();
            match self.limit(suppression, &about) {
                Some(limit) => {
                    judgement.remarks.push(format!("the suppression {}{limit}", named(suppression)))
                }
                None if covered == 0 => judgement.unused.push(named(suppression)),
                None => {}
            }
        }
    }

    /// What keeps a suppression from covering what it is about, if something does.
    fn limit(&self, suppression: &Suppression, about: &[&Finding]) -> Option<String> {
        let owner = suppression.owner.as_ref().map_or(String::new(), |owner| format!(" (owner: {owner})"));
        if let Some(until) = suppression.until.filter(|_| !self.holds(suppression)) {
            let ids: Vec<&str> = about.iter().map(|finding| finding.id.as_str()).collect();
            let would = match ids.is_empty() {
                true => "what it was for was not seen: remove it".into(),
                false => format!("it would cover {}", ids.join(", ")),
            };
            return Some(format!(" ended on {until}{owner}; {would}"));
        }
        let calls: u64 = about.iter().map(|finding| finding.repeats).sum();
        let max = suppression.max.filter(|&max| calls > max)?;
        Some(format!(" covers {} at most, and there are {calls}{owner}", count(max, "bad call")))
    }
}

fn named(suppression: &Suppression) -> String {
    format!("'{}' ({})", suppression.name, suppression.place)
}
