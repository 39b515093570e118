//! The renderers of hk-report, with paths told from the present folder.

use hk_report::Report;
use std::path::PathBuf;

pub use hk_report::{to_html, to_junit};

fn root() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

pub fn to_sarif(report: &Report) -> String {
    hk_report::to_sarif(report, &root())
}

pub fn to_github(report: &Report) -> String {
    hk_report::to_github(report, &root())
}
