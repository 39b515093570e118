//! The report as text: every line begins with [`LINE_PREFIX`].
//!
//! ```text
//! finding.rs   one finding: sentence, id, culprit, the block's life, what follows
//!   life.rs      allocated, freed, misused: when, by which thread, where
//!   stack.rs     a stack, frame by frame or in one line
//!   verdict.rs   what happened and how sure that is
//! summary.rs   the run
//! judgement.rs what the baseline and the suppressions made of it
//! ```

mod finding;
mod judgement;
mod life;
mod stack;
mod summary;
mod verdict;

pub use finding::finding_text;
pub use judgement::judgement_text;
pub(crate) use stack::stack_remark;
pub use summary::summary_text;

use crate::model::Report;
use crate::style::Style;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What every line begins with.
pub const LINE_PREFIX: &str = "heapkeeper:";

/// How findings are shown, and what is known beside them.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// Colours or none.
    pub style: Style,
    /// All frames of all stacks, with their addresses.
    pub full: bool,
    /// The command that shows more of unguarded blocks, where it is another than the one that was given.
    pub check: Option<&'a str>,
    /// The recording, for commands that read it.
    pub recording: Option<&'a str>,
    /// Build ids of modules by their paths, for the full form.
    pub builds: Option<&'a BTreeMap<String, String>>,
}

impl From<Style> for View<'_> {
    fn from(style: Style) -> Self {
        View { style, ..View::default() }
    }
}

/// Collects lines with the prefix.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn push(&mut self, line: &str) {
        let _ = writeln!(self.text, "{LINE_PREFIX} {line}");
    }
}

/// Text that came from a program or a file: nothing in it can end a line or drive a terminal.
pub fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The findings, then the summary.
pub fn report_text<'a>(report: &Report, view: impl Into<View<'a>>) -> String {
    let view = view.into();
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&finding_text(finding, view));
    }
    text + &summary_text(report, view.style)
}
