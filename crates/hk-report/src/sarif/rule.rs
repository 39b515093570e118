//! A rule per kind of finding, and the taxonomy that the rules point into.

use crate::kinds::{KINDS, capitalised, cwe_page, facts};
use serde_json::{Value, json};

/// The Common Weakness Enumeration, as results and rules name it.
pub(super) const TAXONOMY: &str = "CWE";

/// The rule of a kind.
pub(super) fn rule(kind: &str) -> Value {
    let Some(facts) = facts(kind) else { return json!({ "id": kind, "name": pascal_case(kind) }) };
    let help = format!("{} See {}.", facts.meaning, cwe_page(facts.cwe));
    json!({
        "id": kind,
        "name": pascal_case(kind),
        "shortDescription": { "text": format!("{} (CWE-{})", facts.title(), facts.cwe) },
        "fullDescription": { "text": facts.meaning },
        "help": { "text": help },
        "helpUri": cwe_page(facts.cwe),
        "defaultConfiguration": { "level": "error" },
        "relationships": [{ "target": cwe_reference(facts.cwe), "kinds": ["relevant"] }],
        "properties": {
            "precision": "very-high",
            "problem.severity": "error",
            "tags": ["security", "memory", format!("external/cwe/cwe-{}", facts.cwe)],
        },
    })
}

/// A weakness, by its number and its place in [`taxonomy`]; null if it is not there.
pub(super) fn cwe_reference(cwe: u32) -> Value {
    match weaknesses().iter().position(|&(number, _)| number == cwe) {
        Some(index) => json!({
            "id": cwe.to_string(),
            "index": index,
            "toolComponent": { "name": TAXONOMY },
        }),
        None => Value::Null,
    }
}

/// The weaknesses that we find.
pub(super) fn taxonomy() -> Value {
    let taxa = weaknesses().into_iter().map(|(number, name)| {
        json!({
            "id": number.to_string(),
            "name": name,
            "shortDescription": { "text": name },
            "helpUri": cwe_page(number),
        })
    });
    json!({
        "name": TAXONOMY,
        "organization": "MITRE",
        "informationUri": "https://cwe.mitre.org/",
        "shortDescription": { "text": "The MITRE Common Weakness Enumeration" },
        "isComprehensive": false,
        "taxa": taxa.collect::<Vec<_>>(),
    })
}

/// Each once: two of our kinds are one weakness.
fn weaknesses() -> Vec<(u32, &'static str)> {
    let mut all: Vec<_> = KINDS.iter().map(|facts| (facts.cwe, facts.cwe_name)).collect();
    all.dedup();
    all
}

/// `DoubleFree`, as SARIF wants the readable names of rules.
fn pascal_case(kind: &str) -> String {
    kind.split('-').map(capitalised).collect()
}
