//! What the tools cost: CPU time and memory of a program that allocates correctly and does little else.

use crate::artefacts::Artefacts;
use crate::context::Context;
use crate::process::Run;
use crate::suites::known_bugs::programs::Programs;
use crate::suites::known_bugs::tools::Tool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A tool's cost.
pub struct Cost {
    /// User and system time of the whole process tree, plain being 1.
    pub slowdown: f64,
    /// Resident memory of the largest process at its peak.
    pub peak_kib: f64,
}

/// Measures the tools; the errors are those of single tools.
pub fn all(
    context: &Context,
    programs: &Programs,
    tools: &[Tool],
) -> (BTreeMap<Tool, Cost>, Vec<(Tool, String)>) {
    let mut costs = BTreeMap::new();
    let mut errors = Vec::new();
    let launcher = match launcher(context) {
        Ok(launcher) => launcher,
        Err(text) => return (costs, vec![(Tool::Glibc, text)]),
    };
    let (pairs, rounds) = if context.soak { ("500000", 5) } else { ("50000", 1) };
    let measure = |tool| {
        let measured = Measure { launcher: &launcher, artefacts: context.artefacts().ok(), programs, pairs };
        measured.least(tool, rounds, &context.scratch)
    };
    let plain = match measure(Tool::Glibc) {
        Ok((plain, _)) => plain,
        Err(text) => return (costs, vec![(Tool::Glibc, text)]),
    };
    for &tool in tools {
        match measure(tool) {
            Ok((time, peak_kib)) => {
                costs.insert(tool, Cost { slowdown: time / plain.max(1.0), peak_kib });
            }
            Err(text) => errors.push((tool, text)),
        }
    }
    (costs, errors)
}

/// The bench's launcher, which tells what a process tree used.
fn launcher(context: &Context) -> Result<PathBuf, String> {
    let launcher = context.scratch.join("launch");
    Run::new("gcc", Duration::from_secs(60))
        .args(["-O2", "-static", "-o"])
        .arg(&launcher)
        .arg(context.root.join("bench/launcher/launch.c"))
        .succeeds()?;
    Ok(launcher)
}

struct Measure<'a> {
    launcher: &'a Path,
    artefacts: Option<&'a Artefacts>,
    programs: &'a Programs,
    pairs: &'static str,
}

impl Measure<'_> {
    /// The least of the rounds: what disturbs a run only ever adds.
    fn least(&self, tool: Tool, rounds: usize, scratch: &Path) -> Result<(f64, f64), String> {
        let mut least = (f64::MAX, f64::MAX);
        for _ in 0..rounds {
            let (time, peak) = self.once(tool, scratch)?;
            least = (least.0.min(time), least.1.min(peak));
        }
        Ok(least)
    }

    fn once(&self, tool: Tool, scratch: &Path) -> Result<(f64, f64), String> {
        let report = scratch.join("known-bugs.cost");
        let program = self.programs.path("steady", tool.build()).ok_or("`steady` is not built")?;
        let mut run = Run::new(self.launcher, Duration::from_secs(300)).arg(&report).arg("290");
        run = run.args(tool.prefix(self.artefacts, &scratch.join("known-bugs-cost.json")));
        run = run.arg(program).arg(self.pairs).env("ASAN_OPTIONS", "detect_leaks=0");
        if let Some(artefacts) = self.artefacts {
            run = run.env("XDG_CACHE_HOME", &artefacts.cache);
        }
        run.succeeds()?;
        let text = std::fs::read_to_string(&report).map_err(|e| format!("{}: {e}", report.display()))?;
        parsed(&text).ok_or(format!("the launcher wrote '{}'", text.trim()))
    }
}

/// `user_us sys_us wall_us peak_rss_kib ... status`.
fn parsed(text: &str) -> Option<(f64, f64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<f64>().ok());
    match words.last() {
        Some(&"exit:0") => Some((number(0)? + number(1)?, number(3)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_end_has_a_cost() {
        assert_eq!(parsed("10 5 99 2048 1 0 3 exit:0\n"), Some((15.0, 2048.0)));
        assert_eq!(parsed("10 5 99 2048 1 0 3 signal:6\n"), None);
    }
}
