//! Stands in for the renderers of hk-report until they are there: one function each, from a report to a text.

use hk_report::{Report, to_json};

pub fn to_sarif(report: &Report) -> String {
    to_json(report)
}

pub fn to_junit(report: &Report) -> String {
    to_json(report)
}

pub fn to_html(report: &Report) -> String {
    to_json(report)
}

pub fn to_github(report: &Report) -> String {
    report
        .findings
        .iter()
        .map(|finding| format!("::error title={}::{}\n", finding.id, finding.message))
        .collect()
}
