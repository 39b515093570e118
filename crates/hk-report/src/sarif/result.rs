//! A finding as a SARIF result.

use super::message;
use super::place::{heading, location, location_with, program_location, stack, telling_frame};
use super::rule::cwe_reference;
use crate::model::{Culprit, Finding};
use crate::moments::{Moment, Turn, moments};
use crate::status::is_new;
use crate::units;
use serde_json::{Value, json};
use std::path::Path;

/// The finding; its rule's index is that of its kind.
pub(super) fn result(finding: &Finding, kinds: &[&str], root: &Path) -> Value {
    let moments = moments(finding);
    json!({
        "ruleId": finding.kind,
        "ruleIndex": kinds.iter().position(|kind| *kind == finding.kind),
        "kind": "fail",
        "level": "error",
        "message": message(&finding.message),
        "locations": locations(finding, root),
        "relatedLocations": related_locations(&moments, root),
        "stacks": stacks(&moments, root),
        "codeFlows": code_flows(&moments, root),
        "taxa": [cwe_reference(finding.cwe)],
        "partialFingerprints": fingerprints(finding),
        "occurrenceCount": finding.repeats.max(1),
        "baselineState": if is_new(finding) { "new" } else { "unchanged" },
        "suppressions": suppressions(finding),
        "properties": properties(finding),
    })
}

fn locations(finding: &Finding, root: &Path) -> Vec<Value> {
    let at_frame = telling_frame(&finding.stack).map(|frame| location(frame, root));
    at_frame.or_else(|| program_location(finding, root)).into_iter().collect()
}

/// Where the block was allocated and where it was freed.
fn related_locations(moments: &[Moment<'_>], root: &Path) -> Vec<Value> {
    let earlier = moments.iter().filter(|moment| moment.turn != Turn::Misused);
    let places = earlier.filter_map(|moment| Some((moment, telling_frame(moment.stack)?)));
    places
        .enumerate()
        .map(|(at, (moment, frame))| {
            let mut location = location_with(frame, &heading(moment), root);
            location["id"] = json!(at + 1);
            location
        })
        .collect()
}

/// The misuse's first: readers that show one stack show that.
fn stacks(moments: &[Moment<'_>], root: &Path) -> Vec<Value> {
    moments.iter().rev().map(|moment| stack(moment, root)).filter(|stack| !stack.is_null()).collect()
}

/// The block's life; the whole stacks are in [`stacks`]. A thread flow is of one thread: moments of several
/// threads are put in order by their numbers.
fn code_flows(moments: &[Moment<'_>], root: &Path) -> Value {
    let mut flows: Vec<(u32, Vec<Value>)> = Vec::new();
    for (at, moment) in moments.iter().enumerate() {
        let Some(place) = flow_location(moment, at + 1, root) else { continue };
        match flows.iter_mut().find(|(thread, _)| *thread == moment.thread.id) {
            Some((_, places)) => places.push(place),
            None => flows.push((moment.thread.id, vec![place])),
        }
    }
    if flows.iter().map(|(_, places)| places.len()).sum::<usize>() < 2 {
        return Value::Null;
    }
    let threads = flows.into_iter().map(|(thread, places)| {
        let name = moments.iter().find(|m| m.thread.id == thread).map_or("", |m| m.thread.name.as_str());
        json!({
            "id": thread.to_string(),
            "message": message(&format!("thread {name} ({thread})")),
            "locations": places,
        })
    });
    json!([{ "message": message("the block's life"), "threadFlows": threads.collect::<Vec<_>>() }])
}

fn flow_location(moment: &Moment<'_>, order: usize, root: &Path) -> Option<Value> {
    let frame = telling_frame(moment.stack)?;
    let kinds = match moment.turn {
        Turn::Allocated => ["acquire", "memory"],
        Turn::Freed => ["release", "memory"],
        Turn::Misused => ["danger", "memory"],
    };
    let text =
        format!("{}, {} after the start of the process", heading(moment), units::duration(moment.time_ns));
    Some(json!({
        "executionOrder": order,
        "importance": "essential",
        "kinds": kinds,
        "location": location_with(frame, &text, root),
    }))
}

/// The bug's id is made of names alone: it is the same in every run and outlives edits elsewhere in the file.
fn fingerprints(finding: &Finding) -> Value {
    if finding.id.is_empty() { Value::Null } else { json!({ "heapkeeperBug/v1": finding.id }) }
}

/// An empty list says that nothing suppresses the result; an absent one, that nobody knows.
fn suppressions(finding: &Finding) -> Value {
    match finding.status.as_str() {
        "suppressed" => json!([{
            "kind": "external",
            "status": "accepted",
            "justification": finding.suppressed_by,
        }]),
        _ => json!([]),
    }
}

/// What SARIF has no words for.
fn properties(finding: &Finding) -> Value {
    json!({
        "id": finding.id,
        "call": finding.call,
        "evidence": Some(&finding.evidence).filter(|word| !word.is_empty()),
        "process": format!("{} ({})", finding.process.exe, finding.process.pid),
        "thread": format!("{} ({})", finding.thread.name, finding.thread.id),
        "likelyCulprit": finding.culprit.as_ref().map(culprit),
        "fix": finding.fix,
    })
}

fn culprit(culprit: &Culprit) -> Value {
    json!({
        "function": culprit.function,
        "place": culprit.place,
        "confidence": culprit.confidence,
        "reasons": culprit.reasons,
    })
}
