//! `heapkeeper check`: its options, its exit status, and whether its findings say what happened.

use crate::artefacts::Artefacts;
use crate::process::{Ended, Run};
use crate::suites::known_bugs::matrix::Variant;
use crate::suites::known_bugs::promise::Promise;
use crate::suites::known_bugs::tools::Seen;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The exit status of a run with findings.
const FOUND: i32 = 97;
/// That of a run without findings in which blocks went unguarded.
const BLIND: i32 = 98;
/// That of heapkeeper's own failures.
const FAILED: i32 = 125;

/// An error if the command has no such verb, or it cannot run here.
pub fn is_there(artefacts: &Artefacts) -> Result<(), String> {
    let run = Run::new(&artefacts.command, Duration::from_secs(30)).args(["check", "--", "/bin/true"]);
    let ended = run.env("XDG_CACHE_HOME", &artefacts.cache).ended()?;
    match ended.status.success() {
        true => Ok(()),
        false => {
            let why = ended.stderr.lines().next().unwrap_or("it says nothing");
            Err(format!(
                "this heapkeeper cannot `check` (build one that can, or name it by --command): {why}"
            ))
        }
    }
}

/// The words before the program.
pub fn prefix(artefacts: &Artefacts, side: Option<&str>, json: &Path) -> Vec<String> {
    let mut words = vec![artefacts.command.to_string_lossy().into_owned(), "check".into()];
    words.extend(side.iter().flat_map(|side| ["--side".to_string(), side.to_string()]));
    // In a place of its own, or each finding would leave one in the temporary folder.
    let recording = json.with_extension("hkrec");
    for (option, path) in [("--json", json), ("--record", &recording)] {
        words.extend([option.into(), path.to_string_lossy().into_owned()]);
    }
    words.push("--".into());
    words
}

/// A run of ours to be judged.
pub struct Check<'a> {
    /// What was run.
    pub variant: &'a Variant,
    /// What is promised about it.
    pub promise: Promise,
    /// Whether it was the twin.
    pub twin: bool,
}

impl Check<'_> {
    /// What it said.
    pub fn judged(&self, ended: &Ended, json: &Path) -> Seen {
        let how = || format!("{}\n{}", ended.how(Duration::ZERO), ended.last_lines(8));
        let findings = match findings(json) {
            Ok(findings) => findings,
            Err(text) => return Seen::Broken(format!("{text}\n{}", how())),
        };
        match (ended.status.code(), findings.is_empty()) {
            (Some(FAILED | BLIND), _) => Seen::Broken(how()),
            (Some(FOUND), false) => self.named(&findings),
            (Some(FOUND), true) => Seen::Broken(format!("exit status 97 and no finding\n{}", how())),
            (_, false) => Seen::Broken(format!("findings, and not exit status 97\n{}", how())),
            (Some(0), true) => Seen::Nothing,
            // A far access may end the program by itself, as it would have without us.
            (_, true) if !self.twin => Seen::Nothing,
            (_, true) => Seen::Broken(how()),
        }
    }

    /// Whether some finding says it all; else what the nearest one lacks.
    fn named(&self, findings: &[Value]) -> Seen {
        if self.twin {
            return Seen::Report;
        }
        let lacks: Vec<String> = findings.iter().filter_map(|finding| self.lacks(finding)).collect();
        match lacks.len() < findings.len() {
            true => Seen::Report,
            false => Seen::Misnamed(lacks.join("; ")),
        }
    }

    fn lacks(&self, finding: &Value) -> Option<String> {
        let kind = finding["kind"].as_str().unwrap_or("");
        if !self.variant.kinds.iter().any(|wanted| wanted == kind) {
            return Some(format!("kind {kind}"));
        }
        let cwe = finding["cwe"].as_u64().unwrap_or(0);
        if !self.variant.cwe.iter().any(|&wanted| u64::from(wanted) == cwe) {
            return Some(format!("{kind}: CWE {cwe}"));
        }
        // Too late to see who did it; a canary knows the block, and so who asked for it.
        let is_late = self.promise == Promise::Late;
        let wanted = self.variant.sites.iter().filter(|site| !is_late || *site != "bug_site");
        let missing: Vec<&str> =
            wanted.map(String::as_str).filter(|site| !names(stack_of(finding, site), site)).collect();
        (!missing.is_empty()).then(|| format!("{kind}: the stack does not name {}", missing.join(", ")))
    }
}

/// The stack that has to name a site: that of the bad call or access, of the allocation, of the free.
fn stack_of<'a>(finding: &'a Value, site: &str) -> &'a Value {
    match site {
        "alloc_site" => &finding["life"]["allocated"]["stack"],
        "free_site" => &finding["life"]["freed"]["stack"],
        _ => &finding["stack"],
    }
}

/// Whether a function of the stack has the word in its name.
fn names(stack: &Value, word: &str) -> bool {
    let frames = stack.as_array().map(Vec::as_slice).unwrap_or_default();
    frames.iter().filter_map(|frame| frame["function"].as_str()).any(|function| function.contains(word))
}

fn findings(json: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(json).map_err(|e| format!("{}: {e}", json.display()))?;
    let report: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", json.display()))?;
    report["findings"].as_array().cloned().ok_or("the report has no findings".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_site_has_its_stack() {
        let finding = json!({
            "stack": [{"function": null}, {"function": "Sites<true>::bug_site()"}],
            "life": {"allocated": {"stack": [{"function": "alloc_site"}]}, "freed": null},
        });
        assert!(names(stack_of(&finding, "bug_site"), "bug_site"));
        assert!(names(stack_of(&finding, "alloc_site"), "alloc_site"));
        assert!(!names(stack_of(&finding, "free_site"), "free_site"));
    }
}
