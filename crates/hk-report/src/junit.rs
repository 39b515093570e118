//! The report as JUnit XML, which CI systems read as tests: a bug is a failed test, a known or suppressed one
//! a skipped test.

use crate::markup::escaped;
use crate::model::{Finding, Report};
use crate::status::is_new;
use crate::style::Style;
use crate::text::{finding_text, summary_text};
use std::fmt::Write;

/// One suite named `heapkeeper`, a test per finding; a single passed one if there is no finding.
pub fn to_junit(report: &Report) -> String {
    let skipped = report.findings.iter().filter(|finding| !is_new(finding)).count();
    let failures = report.findings.len() - skipped;
    let tests = report.findings.len().max(1);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\"");
    let _ = writeln!(xml, "<testsuites name=\"heapkeeper\" {counts}>");
    let _ = writeln!(xml, "  <testsuite name=\"heapkeeper\" {counts} skipped=\"{skipped}\" time=\"0\">");
    xml.push_str(&properties(report));
    for finding in &report.findings {
        xml.push_str(&test_case(finding));
    }
    if report.findings.is_empty() {
        xml.push_str("    <testcase classname=\"heapkeeper\" name=\"no memory bug was seen\" time=\"0\"/>\n");
    }
    let summary = escaped(&summary_text(report, Style::Plain));
    let _ = writeln!(xml, "    <system-out>{summary}</system-out>");
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn properties(report: &Report) -> String {
    let mut xml = String::from("    <properties>\n");
    let mut property = |name: &str, value: &str| {
        let _ = writeln!(xml, "      <property name=\"{name}\" value=\"{}\"/>", attribute(value));
    };
    property("heapkeeper", &report.heapkeeper);
    if let Some(command) = &report.command {
        property("command", &command.join(" "));
    }
    xml.push_str("    </properties>\n");
    xml
}

/// The id comes first in the name: systems that compare runs tell tests apart by it.
fn test_case(finding: &Finding) -> String {
    let mut xml = String::new();
    let message = attribute(&finding.message);
    let kind = attribute(&finding.kind);
    let name = format!("{} {message}", attribute(&finding.id));
    let _ =
        writeln!(xml, "    <testcase classname=\"heapkeeper.{kind}\" name=\"{}\" time=\"0\">", name.trim());
    let text = escaped(&finding_text(finding, Style::Plain));
    match is_new(finding) {
        true => {
            let _ = writeln!(xml, "      <failure type=\"{kind}\" message=\"{message}\">{text}</failure>");
        }
        false => {
            let why = attribute(&accepted_because(finding));
            let _ = writeln!(xml, "      <skipped type=\"{kind}\" message=\"{why}\"/>");
            let _ = writeln!(xml, "      <system-out>{text}</system-out>");
        }
    }
    xml.push_str("    </testcase>\n");
    xml
}

fn accepted_because(finding: &Finding) -> String {
    match (finding.status.as_str(), &finding.suppressed_by) {
        ("suppressed", Some(by)) => format!("suppressed by {by}"),
        ("suppressed", None) => "suppressed".into(),
        _ => "known: it is in the baseline".into(),
    }
}

/// A line end in an attribute is read as a blank, unless it is written as a reference.
fn attribute(text: &str) -> String {
    escaped(text).replace('\n', "&#10;")
}
