//! The report as SARIF 2.1.0, the format of code scanning services: rules, results with their stacks, and
//! notes.
//!
//! Absent values are left out: the trees are built with nulls in them, which are pruned at the end.

mod place;
mod result;
mod rule;

use crate::kinds::KINDS;
use crate::location::file_uri;
use crate::model::{Note, Report};
use serde_json::{Value, json};
use std::path::Path;

/// The report with its sources relative to `root`: where the program was built, as a rule the working
/// directory.
pub fn to_sarif(report: &Report, root: &Path) -> String {
    let kinds = kinds(report);
    let results: Vec<Value> =
        report.findings.iter().map(|finding| result::result(finding, &kinds, root)).collect();
    let log = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver(report, &kinds) },
            "taxonomies": [rule::taxonomy()],
            "invocations": [invocation(report)],
            "originalUriBaseIds": { place::ROOT: { "uri": folder_uri(root) } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let mut text =
        serde_json::to_string_pretty(&without_nulls(log)).expect("a tree of values has a JSON form");
    text.push('\n');
    text
}

/// The kinds that there are, then those of the report that are none of them.
fn kinds(report: &Report) -> Vec<&str> {
    let mut kinds: Vec<&str> = KINDS.iter().map(|facts| facts.kind).collect();
    for finding in &report.findings {
        if !kinds.contains(&finding.kind.as_str()) {
            kinds.push(&finding.kind);
        }
    }
    kinds
}

fn driver(report: &Report, kinds: &[&str]) -> Value {
    json!({
        "name": "Heapkeeper",
        "version": report.heapkeeper,
        "informationUri": "https://github.com/heapkeeper/heapkeeper",
        "rules": kinds.iter().map(|kind| rule::rule(kind)).collect::<Vec<_>>(),
        "supportedTaxonomies": [{ "name": rule::TAXONOMY }],
    })
}

/// The run itself succeeded, as there is a report; what did not go as it should is told by notifications.
fn invocation(report: &Report) -> Value {
    let not_covered = report.not_covered.iter().map(|program| {
        let text = format!("{} did not run on our heap: {}", program.path, program.reason);
        notification("warning", "not-covered", &text)
    });
    let notes = report.notes.iter().map(|note: &Note| notification("note", &note.kind, &note.message));
    json!({
        "executionSuccessful": true,
        "arguments": report.command,
        "exitCode": report.exit_status,
        "exitSignalNumber": report.exit_signal,
        "toolExecutionNotifications": not_covered.chain(notes).collect::<Vec<_>>(),
    })
}

fn notification(level: &str, id: &str, text: &str) -> Value {
    json!({ "level": level, "descriptor": { "id": id }, "message": message(text) })
}

/// A folder's URI ends with a slash, or what is relative to it would replace its last part.
fn folder_uri(folder: &Path) -> String {
    let uri = file_uri(&folder.to_string_lossy());
    if uri.ends_with('/') { uri } else { uri + "/" }
}

/// A message object. Braces and links have a meaning in SARIF's messages, and `delete[](void*)` looks like a
/// link.
fn message(text: &str) -> Value {
    let text = crate::text::clean(text).replace('{', "{{").replace('}', "}}").replace("](", "\\](");
    json!({ "text": text })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(values) => {
            Value::Array(values.into_iter().filter(|value| !value.is_null()).map(without_nulls).collect())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_look_like_placeholders_or_links() {
        assert_eq!(
            message("{closure#0} operator delete[](void*)")["text"],
            "{{closure#0}} operator delete[\\](void*)"
        );
    }

    #[test]
    fn nulls_are_left_out() {
        assert_eq!(without_nulls(json!({"a": null, "b": [null, {"c": null}]})), json!({"b": [{}]}));
    }

    #[test]
    fn a_root_is_a_folder() {
        assert_eq!(folder_uri(Path::new("/")), "file:///");
        assert_eq!(folder_uri(Path::new("/a b")), "file:///a%20b/");
    }
}
