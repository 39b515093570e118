//! The report as JSON.

use crate::model::{Report, SCHEMA, SCHEMA_VERSION};

/// The report as an indented JSON text that ends with a line end.
pub fn to_json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("plain data has a JSON form");
    text.push('\n');
    text
}

/// A report from JSON; refuses other schemas and versions in one line.
pub fn from_json(text: &str) -> Result<Report, String> {
    let report: Report = serde_json::from_str(text).map_err(|e| format!("no report of heapkeeper: {e}"))?;
    if report.schema != SCHEMA || report.version != SCHEMA_VERSION {
        return Err(format!(
            "a report of schema {} version {}, expected {SCHEMA} version {SCHEMA_VERSION}",
            report.schema, report.version
        ));
    }
    Ok(report)
}
