//! The baseline: the findings that a project knows of, by their ids, so that a test fails on new ones alone.

use crate::model::Finding;
use serde::{Deserialize, Serialize};

/// Value of the field `schema`.
const SCHEMA: &str = "heapkeeper-baseline";
/// Value of the field `version`.
const VERSION: u32 = 1;

/// What a baseline file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    schema: String,
    version: u32,
    /// Ordered by id, so that a change shows as one in a diff.
    pub findings: Vec<KnownFinding>,
}

/// A finding that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFinding {
    /// See [`Finding::id`].
    pub id: String,
    /// See [`Finding::kind`].
    pub kind: String,
    /// Its first sentence, for whoever reads the file.
    pub message: String,
    /// Bad calls when it was written.
    pub count: u64,
}

impl Baseline {
    /// Of the findings of a run that are not suppressed.
    pub fn of(findings: &[Finding]) -> Baseline {
        let present = findings.iter().filter(|finding| finding.status != "suppressed");
        let mut findings: Vec<KnownFinding> = present
            .map(|finding| KnownFinding {
                id: finding.id.clone(),
                kind: finding.kind.clone(),
                message: finding.message.clone(),
                count: finding.repeats,
            })
            .collect();
        findings.sort_by(|a, b| a.id.cmp(&b.id));
        Baseline { schema: SCHEMA.into(), version: VERSION, findings }
    }

    /// Reads the file's text; says in a few words what is wrong with it.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let baseline: Baseline = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match baseline.schema == SCHEMA && baseline.version == VERSION {
            true => Ok(baseline),
            false => Err(format!(
                "its schema is '{}' version {}, expected '{SCHEMA}' version {VERSION}",
                baseline.schema.escape_default(),
                baseline.version
            )),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data has a JSON form");
        text.push('\n');
        text
    }

    /// Whether it has this id.
    pub fn knows(&self, id: &str) -> bool {
        self.findings.iter().any(|known| known.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let finding = |id: &str, status: &str| Finding {
            id: id.into(),
            kind: "double-free".into(),
            message: "double free".into(),
            repeats: 3,
            status: status.into(),
            ..Finding::default()
        };
        let found =
            [finding("HK-DF-2", "new"), finding("HK-DF-1", "known"), finding("HK-DF-3", "suppressed")];
        let baseline = Baseline::of(&found);
        assert_eq!(
            baseline.findings.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(),
            ["HK-DF-1", "HK-DF-2"]
        );
        assert_eq!(Baseline::parse(&baseline.to_json()), Ok(baseline.clone()));
        assert!(baseline.knows("HK-DF-2") && !baseline.knows("HK-DF-3"));
    }

    #[test]
    fn other_files_are_refused() {
        let text = Baseline::of(&[]).to_json();
        assert!(Baseline::parse(&text[..20]).is_err());
        assert!(Baseline::parse("[]").is_err());
        let other = Baseline::parse(&text.replace("\"version\": 1", "\"version\": 2")).unwrap_err();
        assert!(other.contains("version 2, expected 'heapkeeper-baseline' version 1"), "{other}");
    }
}
