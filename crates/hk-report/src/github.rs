//! The findings as workflow commands of GitHub Actions, which shows them at their lines in a pull request.

use crate::fold::is_library;
use crate::location::{Location, locate};
use crate::model::{Finding, Report, StackFrame};
use crate::sentence::title;
use crate::status::is_new;
use crate::text::clean;
use std::path::Path;

/// GitHub shows so many errors of a step and drops the others without a word.
const ERRORS_MAX: usize = 10;

/// One command a line, for each finding that is neither known nor suppressed. Files are named relative to
/// `root`, where the repository is checked out.
pub fn to_github(report: &Report, root: &Path) -> String {
    let new: Vec<&Finding> = report.findings.iter().filter(|finding| is_new(finding)).collect();
    let mut text: String = new.iter().take(ERRORS_MAX).map(|finding| error(finding, root)).collect();
    if new.len() > ERRORS_MAX {
        let more = new.len() - ERRORS_MAX;
        let findings = if more == 1 { "finding is" } else { "findings are" };
        text.push_str(&format!(
            "::notice title=Heapkeeper::{more} more {findings} not shown here, as GitHub shows {ERRORS_MAX} \
             per step; the whole report has them\n"
        ));
    }
    text
}

fn error(finding: &Finding, root: &Path) -> String {
    let mut properties = String::new();
    if let Some((file, line)) = place(finding, root) {
        properties = format!("file={},line={line},", property(&file));
    }
    let title = format!("{} {}", title(&finding.kind), finding.id);
    format!("::error {properties}title={}::{}\n", property(&clean(title.trim())), data(&message(finding)))
}

/// The innermost own frame with a line that lies below the root: at others GitHub can show nothing.
fn place(finding: &Finding, root: &Path) -> Option<(String, u32)> {
    let below = |frame: &StackFrame| match locate(frame.file.as_deref()?, root) {
        Location::Below(file) => Some((file, frame.line?)),
        Location::Elsewhere(_) => None,
    };
    finding.stack.iter().filter(|frame| !is_library(frame)).find_map(below)
}

fn message(finding: &Finding) -> String {
    let mut lines = vec![clean(&finding.message)];
    if let Some(culprit) = &finding.culprit {
        let place = culprit.place.as_ref().map_or(String::new(), |place| format!(" at {}", clean(place)));
        lines.push(format!(
            "Likely culprit ({} confidence): {}{place}",
            clean(&culprit.confidence),
            clean(&culprit.function)
        ));
        lines.extend(culprit.reasons.iter().map(|reason| format!("- {}", clean(reason))));
    }
    lines.extend(finding.fix.iter().map(|fix| format!("Fix: {}", clean(fix))));
    lines.join("\n")
}

/// Escaped as the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escaped as the value of one of its properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_a_property_or_a_command() {
        assert_eq!(property("a,b:c%\r\n"), "a%2Cb%3Ac%25%0D%0A");
        assert_eq!(data("50%: a,\nb"), "50%25: a,%0Ab");
    }
}
