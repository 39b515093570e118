//! What a victim's report must say: the file `NAME.golden.json` beside its source, written by hand.
//!
//! Every finding of the report must be one of the golden ones, and every golden one must be there unless it
//! is optional. A golden finding says only what is promised; what it leaves out may be anything.

use crate::outcome::Verdict;
use crate::suites::report::{Finding, Report};
use serde::Deserialize;
use std::path::Path;

/// A golden file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Arguments that the victim is run with, one run each; none: one run without arguments.
    #[serde(default)]
    cases: Vec<Case>,
    /// How the victim ends when it survives its bug.
    #[serde(default)]
    pub ends: Ends,
    /// Bad calls over all findings; without it, the sum of the findings' repeats.
    total: Option<Count>,
    /// The twin waits for blocks to be reused, which `keep` never does.
    #[serde(default)]
    pub needs_reuse: bool,
    findings: Vec<Expected>,
}

/// One run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The arguments.
    pub args: Vec<String>,
    /// Size asked for of the block that the finding is about.
    requested_bytes: Option<u64>,
}

/// How a program ends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// By exit.
    pub exit: Option<i32>,
    /// By a signal.
    pub signal: Option<i32>,
}

impl Default for Ends {
    fn default() -> Self {
        Ends { exit: Some(0), signal: None }
    }
}

/// A number, or the least and the greatest.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Count {
    Exactly(u64),
    Between(u64, u64),
}

impl Count {
    fn holds(self, n: u64) -> bool {
        match self {
            Count::Exactly(wanted) => n == wanted,
            Count::Between(least, greatest) => (least..=greatest).contains(&n),
        }
    }
}

/// A word, or several of which any will do.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Any(Vec<String>),
}

impl Words {
    fn allow(&self, word: &str) -> bool {
        match self {
            Words::One(only) => only == word,
            Words::Any(several) => several.iter().any(|one| one == word),
        }
    }
}

/// One finding that is promised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: String,
    cwe: u32,
    call: String,
    place: Words,
    /// The block is at least so large, and not much larger.
    requested_bytes: Option<u64>,
    /// The top of the stack, innermost first: `function file:line`; `...` stands for any frames.
    stack: Vec<String>,
    thread: String,
    #[serde(default = "once")]
    repeats: Count,
    #[serde(default)]
    optional: bool,
    stack_state: Option<String>,
}

const fn once() -> Count {
    Count::Exactly(1)
}

impl Case {
    /// The victim's name with the arguments.
    pub fn label(&self, name: &str) -> String {
        std::iter::once(name).chain(self.args.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }
}

impl Golden {
    /// The golden file of a source file.
    pub fn beside(source: &Path) -> Result<Golden, String> {
        let path = source.with_extension("golden.json");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let golden: Golden = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        golden.agrees_with(source)?;
        Ok(golden)
    }

    /// Some frame of every finding stands on a line that the source marks as the bug. (A finding without any
    /// frame of the source is one that is seen later.)
    fn agrees_with(&self, source: &Path) -> Verdict {
        let text = std::fs::read_to_string(source).map_err(|e| e.to_string())?;
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let lines: Vec<&str> = text.lines().collect();
        for frame in self.findings.iter().flat_map(|finding| &finding.stack) {
            let Some((_, line)) = frame.rsplit_once(&format!(" {name}:")) else { continue };
            let number: usize = line.parse().map_err(|e| format!("'{frame}': {e}"))?;
            let function = frame.split([' ', '(']).next().unwrap_or("").rsplit("::").next().unwrap_or("");
            if lines.get(number.wrapping_sub(1)).is_none_or(|text| text.trim().is_empty()) {
                return Err(format!(
                    "{name} has nothing on line {number}, where the golden file sees {function}"
                ));
            }
        }
        match text.contains("BUG") {
            true => Ok(()),
            false => Err(format!("{name} marks no line as the bug")),
        }
    }

    /// The runs.
    pub fn cases(&self) -> Vec<Case> {
        if self.cases.is_empty() { vec![Case::default()] } else { self.cases.clone() }
    }

    /// The report says exactly what is promised.
    pub fn matches(&self, report: &Report, case: &Case) -> Verdict {
        let shown = || report.shown();
        self.matches_some_or_none(report, case)?;
        for (number, expected) in self.findings.iter().enumerate().filter(|(_, e)| !e.optional) {
            match report.findings.iter().filter(|f| expected.differs(f, case).is_none()).count() {
                1 => {}
                count => return Err(format!("golden finding {number} is there {count} times\n{}", shown())),
            }
        }
        let calls = report.findings.iter().map(|finding| finding.repeats).sum();
        match self.total {
            Some(total) if !total.holds(calls) => {
                Err(format!("{calls} bad calls, expected {total:?}\n{}", shown()))
            }
            _ => Ok(()),
        }
    }

    /// The report has findings, and only such as are promised (a program that was stopped has not made all).
    pub fn matches_some(&self, report: &Report, case: &Case) -> Verdict {
        if report.findings.is_empty() {
            return Err("no finding".into());
        }
        let early = Golden {
            findings: self.findings.iter().map(Expected::at_its_first_call).collect(),
            ..Golden {
                cases: Vec::new(),
                ends: Ends::default(),
                total: None,
                needs_reuse: false,
                findings: vec![],
            }
        };
        early.matches_some_or_none(report, case)
    }

    fn matches_some_or_none(&self, report: &Report, case: &Case) -> Verdict {
        if report.summary.records_dropped > 0 {
            return Err(format!("{} records were dropped", report.summary.records_dropped));
        }
        for finding in &report.findings {
            let differences: Vec<String> =
                self.findings.iter().filter_map(|expected| expected.differs(finding, case)).collect();
            if differences.len() == self.findings.len() {
                return Err(format!("not as promised: {}\n{}", differences.join("; or "), finding.shown()));
            }
        }
        Ok(())
    }
}

impl Expected {
    /// What is expected when the program is stopped at once; others may have been on their way.
    fn at_its_first_call(&self) -> Expected {
        let place = match &self.place {
            Words::One(word) => Words::One(word.clone()),
            Words::Any(words) => Words::Any(words.clone()),
        };
        Expected {
            kind: self.kind.clone(),
            call: self.call.clone(),
            place,
            stack: self.stack.clone(),
            thread: self.thread.clone(),
            repeats: Count::Between(1, u64::MAX),
            stack_state: None,
            ..*self
        }
    }

    /// In what way a finding is not this one; `None` if it is.
    fn differs(&self, finding: &Finding, case: &Case) -> Option<String> {
        let unequal = |what: &str, is: &str, expected: &str| {
            (is != expected).then(|| format!("{what} is '{is}', expected '{expected}'"))
        };
        unequal("kind", &finding.kind, &self.kind)
            .or_else(|| unequal("cwe", &finding.cwe.to_string(), &self.cwe.to_string()))
            .or_else(|| unequal("call", &finding.call, &self.call))
            .or_else(|| unequal("thread", &finding.thread.name, &self.thread))
            .or_else(|| {
                self.stack_state.as_ref().and_then(|s| unequal("stack state", &finding.stack_state, s))
            })
            .or_else(|| {
                let allowed = self.place.allow(&finding.place);
                (!allowed).then(|| format!("place is '{}', expected {:?}", finding.place, self.place))
            })
            .or_else(|| size_differs(finding, case.requested_bytes.or(self.requested_bytes)))
            .or_else(|| {
                let counted = self.repeats.holds(finding.repeats);
                (!counted).then(|| format!("repeats are {}, expected {:?}", finding.repeats, self.repeats))
            })
            .or_else(|| {
                let frames: Vec<String> = finding.stack.iter().map(|frame| frame.shown()).collect();
                (!stack_begins(&self.stack, &frames)).then(|| format!("stack is not {:?}", self.stack))
            })
    }
}

/// A block is as large as was asked for, or rounded up to its class or to pages.
fn size_differs(finding: &Finding, requested: Option<u64>) -> Option<String> {
    let (requested, block) = (requested?, finding.block.as_ref());
    // The block of a span that has been given back may not be known any more.
    if block.is_none() && finding.place == "retired-block" {
        return None;
    }
    let Some(block) = block else { return Some("no block is named".into()) };
    let most = requested + requested / 4 + if requested > 32768 { 65536 } else { 16 };
    let fits = (requested..=most.max(16)).contains(&block.bytes);
    (!fits).then(|| format!("a block of {} bytes for {requested}", block.bytes))
}

/// Whether the frames begin as expected.
fn stack_begins(expected: &[String], frames: &[String]) -> bool {
    match expected.split_first() {
        None => true,
        Some((first, rest)) if first == "..." => {
            (0..=frames.len()).any(|skipped| stack_begins(rest, &frames[skipped..]))
        }
        Some((first, rest)) => frames.split_first().is_some_and(|(frame, below)| {
            // A function's name may be given without the modules it lies in, and is without its parameters.
            let frame = without_parameters(frame);
            let same = frame == *first || frame.ends_with(&format!("::{first}"));
            same && stack_begins(rest, below)
        }),
    }
}

/// `f(int) a.cpp:3` as `f a.cpp:3`: whether compilers leave parameters in names differs.
fn without_parameters(frame: &str) -> String {
    let Some((function, place)) = frame.split_once(") ") else { return frame.into() };
    let mut open = 1;
    for (at, c) in function.char_indices().rev() {
        open += i32::from(c == ')') - i32::from(c == '(');
        if open == 0 {
            return format!("{} {place}", &function[..at]);
        }
    }
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn a_stack_begins_with_what_is_expected() {
        let frames = strings(&["free_twice a.c:5", "raise in libc.so.6", "krate::main a.c:9", "start a.c:1"]);
        assert!(stack_begins(&strings(&["free_twice a.c:5"]), &frames));
        assert!(stack_begins(&strings(&["free_twice a.c:5", "...", "main a.c:9"]), &frames));
        assert!(!stack_begins(&strings(&["free_twice a.c:5", "main a.c:9"]), &frames));
        assert!(!stack_begins(&strings(&["free_twice a.c:6"]), &frames));
        assert!(!stack_begins(&strings(&["...", "in a.c:9"]), &frames));
        assert_eq!(without_parameters("Name::~Name() a.cpp:8"), "Name::~Name a.cpp:8");
        assert_eq!(
            without_parameters("(anonymous namespace)::f(int (*)(long)) a.cpp:8"),
            "(anonymous namespace)::f a.cpp:8"
        );
        assert_eq!(without_parameters("main a.c:9"), "main a.c:9");
    }

    #[test]
    fn counts_are_exact_or_between() {
        assert!(Count::Exactly(3).holds(3) && !Count::Exactly(3).holds(4));
        assert!(Count::Between(1, 3).holds(3) && !Count::Between(1, 3).holds(0));
    }
}
