//! Which findings are new, known or suppressed: by the baseline and the suppressions of a project.

use crate::baseline::{Baseline, KnownFinding};
use crate::model::{Finding, Report};
use crate::suppress::{Date, Suppression};
use crate::units::count;
use std::collections::HashSet;

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
    /// Sentences on suppressions that ended, that cover too few calls, or that were not used.
    pub remarks: Vec<Remark>,
}

/// A sentence on a suppression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The sentence.
    pub text: String,
    /// Whether it matters only to whoever tidies up the suppressions.
    pub is_minor: bool,
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
        judgement.remarks = self.remarks(&report.findings, &covered);
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

    fn remarks(&self, findings: &[Finding], covered: &[u64]) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for (suppression, &covered) in self.suppressions.iter().zip(covered) {
            let about: Vec<&Finding> =
                findings.iter().filter(|finding| suppression.is_about(finding)).collect();
            remarks.extend(self.remark(suppression, &about, covered));
        }
        remarks
    }

    fn remark(&self, suppression: &Suppression, about: &[&Finding], covered: u64) -> Option<Remark> {
        let name = format!("the suppression '{}' ({})", suppression.name, suppression.place);
        let owner = suppression.owner.as_ref().map_or(String::new(), |owner| format!(" (owner: {owner})"));
        let remark = |text: String, is_minor| Some(Remark { text, is_minor });
        match suppression.until {
            Some(until) if !self.holds(suppression) => {
                let ids: Vec<&str> = about.iter().map(|finding| finding.id.as_str()).collect();
                let would = match ids.is_empty() {
                    true => "; what it was for was not seen: remove it".into(),
                    false => format!("; it would cover {}", ids.join(", ")),
                };
                return remark(format!("{name} ended on {until}{owner}{would}"), false);
            }
            _ => {}
        }
        let calls: u64 = about.iter().map(|finding| finding.repeats).sum();
        if let Some(max) = suppression.max.filter(|&max| calls > max) {
            let what = count(calls, "bad call");
            return remark(format!("{name} covers {max} at most, and there are {what}{owner}"), false);
        }
        match suppression.not_applicable() {
            Some(why) => remark(format!("{name} was not used: {why}"), true),
            None if covered == 0 => remark(format!("{name} was not used"), true),
            None => None,
        }
    }
}
