//! Tells findings, each bug once, also over several runs of a program.

use super::session::is_told;
use crate::lines::Sink;
use crate::words::typed;
use hk_report::{BugKey, Bugs, Finding, Ids, Judge, Report, Trapped, View, bug_key, finding_text};
use std::path::Path;
use std::sync::Arc;

/// Findings told one by one; whoever has more of them reads the report.
const TOLD_MAX: usize = 100;

/// What was told so far.
pub struct Teller {
    sink: Arc<Sink>,
    judge: Arc<Judge>,
    new_only: bool,
    /// The command that shows more of unguarded blocks.
    check: Option<String>,
    recording: Option<String>,
    ids: Ids,
    /// The ids of all bugs that were seen.
    seen: Bugs<String>,
    trapped: Trapped<()>,
    told: Bugs<()>,
    told_count: usize,
}

impl Teller {
    /// One that has told nothing yet.
    pub fn new(sink: &Arc<Sink>, judge: &Arc<Judge>, new_only: bool, check: Option<String>) -> Teller {
        Teller {
            sink: Arc::clone(sink),
            judge: Arc::clone(judge),
            new_only,
            check,
            recording: None,
            ids: Ids::default(),
            seen: Bugs::default(),
            trapped: Trapped::default(),
            told: Bugs::default(),
            told_count: 0,
        }
    }

    /// Findings are in this recording from now on.
    pub fn recorded_in(&mut self, recording: &Path) {
        self.recording = Some(typed(&[recording.into()]));
    }

    /// Tells a finding that was just made. How often it will be seen says the summary.
    pub fn tell(&mut self, mut found: Finding) {
        if self.trapped.access_of(&found).is_some() {
            return;
        }
        self.trapped.note(&found, ());
        let key = bug_key(&found);
        if let Some(id) = self.seen.get(&key) {
            found.id = id.clone();
        } else {
            found.id = self.ids.distinct(found.id);
            self.seen.insert(key.clone(), found.id.clone());
        }
        self.judge.preview(&mut found);
        self.tell_once(key, &found);
    }

    /// Tells what is still to be told of a judged report.
    pub fn tell_rest(&mut self, report: &Report) {
        for found in &report.findings {
            self.tell_once(bug_key(found), found);
        }
    }

    fn tell_once(&mut self, key: BugKey, found: &Finding) {
        if !is_told(&found.status, self.new_only) || self.told.get(&key).is_some() {
            return;
        }
        self.told.insert(key, ());
        self.told_count += 1;
        let view = View {
            style: self.sink.style(),
            check: self.check.as_deref(),
            recording: self.recording.as_deref(),
            ..View::default()
        };
        match self.told_count {
            ..=TOLD_MAX => self.sink.text(&finding_text(found, view)),
            // The first one too many.
            n if n == TOLD_MAX + 1 => self.sink.line(&format!(
                "more than {TOLD_MAX} different findings: the others are in the recording and in the JSON report"
            )),
            _ => {}
        }
    }
}
