//! Frames, stacks and threads as SARIF's locations.

use super::message;
use crate::fold::{file_name, own_frame};
use crate::location::{Location, file_uri, locate, percent_encoded};
use crate::model::{Finding, StackFrame};
use crate::moments::Moment;
use crate::text::stack_remark;
use hk_symbols::short_name;
use serde_json::{Value, json};
use std::path::Path;

/// The name of the sources' root: services put the repository's place in its stead.
pub(super) const ROOT: &str = "SRCROOT";

/// The frame that a reader should look at first.
pub(super) fn telling_frame(stack: &[StackFrame]) -> Option<&StackFrame> {
    own_frame(stack).or(stack.first())
}

/// A frame's place in the source, or in its module where no line is known.
pub(super) fn location(frame: &StackFrame, root: &Path) -> Value {
    let physical = match (&frame.file, &frame.module) {
        (Some(file), _) => json!({
            "artifactLocation": artifact(file, root),
            "region": frame.line.filter(|&line| line > 0).map(|line| json!({
                "startLine": line,
                "snippet": frame.source.as_ref().map(|text| json!({ "text": text })),
            })),
        }),
        (None, Some(module)) => json!({
            "artifactLocation": artifact(module, root),
            "address": address(frame, module),
        }),
        (None, None) => Value::Null,
    };
    let logical = frame.function.as_ref().map(|function| {
        json!([{ "name": short_name(function), "fullyQualifiedName": function, "kind": "function" }])
    });
    json!({ "physicalLocation": physical, "logicalLocations": logical })
}

/// The same with a word about it.
pub(super) fn location_with(frame: &StackFrame, text: &str, root: &Path) -> Value {
    let mut location = location(frame, root);
    location["message"] = message(text);
    location
}

/// Where a finding without a stack is shown: at its program.
pub(super) fn program_location(finding: &Finding, root: &Path) -> Option<Value> {
    let exe = finding.process.exe.as_str();
    (!exe.is_empty()).then(|| json!({ "physicalLocation": { "artifactLocation": artifact(exe, root) } }))
}

fn artifact(file: &str, root: &Path) -> Value {
    match locate(file, root) {
        Location::Below(path) => json!({ "uri": percent_encoded(&path), "uriBaseId": ROOT }),
        Location::Elsewhere(path) => json!({ "uri": file_uri(&path) }),
    }
}

/// An instruction's place in its module: the absolute address differs in every run, and is too large a number
/// for many readers.
fn address(frame: &StackFrame, module: &str) -> Value {
    let Some(offset) = frame.offset.and_then(|offset| i64::try_from(offset.0).ok()) else {
        return Value::Null;
    };
    json!({
        "kind": "instruction",
        "relativeAddress": offset,
        "fullyQualifiedName": format!("{}+{offset:#x}", file_name(module)),
    })
}

/// A moment's whole stack; null if nothing of it is known.
pub(super) fn stack(moment: &Moment<'_>, root: &Path) -> Value {
    if moment.stack.is_empty() {
        return Value::Null;
    }
    let frames = moment.stack.iter().map(|frame| {
        json!({
            "location": location(frame, root),
            "module": frame.module.as_deref().map(file_name),
            "threadId": moment.thread.id,
        })
    });
    let text = match stack_remark(moment.stack_state) {
        Some(remark) => format!("{} ({remark})", heading(moment)),
        None => heading(moment),
    };
    json!({ "message": message(&text), "frames": frames.collect::<Vec<_>>() })
}

/// `freed in thread worker (4712)`.
pub(super) fn heading(moment: &Moment<'_>) -> String {
    format!("{} in thread {} ({})", moment.label, moment.thread.name, moment.thread.id)
}
