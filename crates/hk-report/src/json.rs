//! The report as JSON.

use crate::model::{Report, SCHEMA, SCHEMA_VERSION};

/// The JSON Schema (draft 2020-12) of the report.
pub const JSON_SCHEMA: &str = include_str!("../schema/report-1.schema.json");

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::*;
    use hk_format::{Call, Evidence, Family, FindingKind, Place, StackState};
    use serde_json::{Value, json};

    fn words<T>(known: fn(u32) -> Option<T>, name: fn(T) -> &'static str) -> Vec<&'static str> {
        (0..64).filter_map(known).map(name).collect()
    }

    #[test]
    fn the_schema_knows_every_word_of_a_recording() {
        let schema: Value = serde_json::from_str(JSON_SCHEMA).unwrap();
        let definitions = &schema["$defs"];
        let finding = &definitions["finding"]["properties"];
        for (described, words) in [
            (&finding["kind"], words(FindingKind::from_u32, kind_name)),
            (&finding["call"], words(Call::from_u32, call_name)),
            (&finding["place"], words(Place::from_u32, place_name)),
            (&finding["evidence"], words(Evidence::from_u32, evidence_name)),
            (&definitions["event"]["properties"]["family"], words(Family::from_u32, family_name)),
            (&definitions["stack_state"], words(StackState::from_u32, stack_state_name)),
        ] {
            let known = described["anyOf"][0]["enum"].as_array().unwrap();
            assert!(!words.is_empty());
            for word in words {
                assert!(known.contains(&json!(word)), "{word}");
            }
        }
    }
}
