//! What each allocator catches: the project's victims, one program per bug, run on all of them.
//!
//! The facts decide: a bug was *caught* if the program was ended on purpose (SIGABRT, SIGILL, SIGTRAP) or anything was written to
//! its standard error, where no victim writes itself. One that ended by SIGSEGV or SIGBUS *crashed*: the bug did harm, somewhere. One that
//! came to its end as if nothing had been was *missed*.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::allocators::Allocator;
use crate::cache::Cache;
use crate::launch::Launcher;
use crate::workloads::Job;

const LIMIT_SECONDS: &str = "10";
/// SIGILL, SIGTRAP, SIGABRT.
const ON_PURPOSE: &[&str] = &["signal:4", "signal:5", "signal:6"];

/// Their bug is in a child whose environment they cleared: with LD_PRELOAD alone that child runs on the C library's malloc, whatever is
/// measured.
const UNCOVERED: &[&str] = &[
    "double_free_after_exec_with_empty_environment",
    "double_free_in_shell_after_clearenv",
    "double_free_in_spawned_child",
];

/// What became of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The bug was noticed.
    Caught,
    /// The program ended by a fault.
    Crashed,
    /// It went on as if nothing had been.
    Missed,
    /// It did not end.
    Hung,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Caught => "caught",
            Outcome::Crashed => "crashed",
            Outcome::Missed => "missed",
            Outcome::Hung => "hung",
        }
    }
}

/// One victim on all allocators.
pub struct Caught {
    name: String,
    kind: String,
    outcomes: Vec<Outcome>,
}

/// Runs all victims in `folder`; what does not compile is left out, and named.
pub fn run(
    folder: &Path,
    cache: &Cache,
    allocators: &[Allocator],
    launcher: &Launcher,
) -> Result<(Vec<Caught>, Vec<String>), String> {
    let mut all = Vec::new();
    let mut left_out = Vec::new();
    for source in sources(folder)? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if UNCOVERED.contains(&name.as_str()) {
            continue;
        }
        let program = match compile(&source, &name, cache) {
            Ok(program) => program,
            Err(why) => {
                left_out.push(format!("victim {name}: {}", why.lines().next().unwrap_or_default()));
                continue;
            }
        };
        let Some((kind, arguments)) = expected(&source) else { continue };
        let outcome = |allocator: &Allocator| run_one(&program, &arguments, allocator, launcher);
        let outcomes = allocators.iter().map(outcome).collect::<Result<_, _>>()?;
        all.push(Caught { name, kind, outcomes });
    }
    Ok((all, left_out))
}

/// Plugins first, which others load.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for language in ["c", "cpp"] {
        let folder = folder.join(language);
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let is_source = |path: &PathBuf| path.extension().is_some_and(|ending| ending == language);
        found.extend(entries.flatten().map(|entry| entry.path()).filter(is_source));
    }
    found.sort_by_key(|path| (!is_plugin(path), path.clone()));
    Ok(found)
}

fn is_plugin(source: &Path) -> bool {
    source.file_stem().is_some_and(|name| name.to_string_lossy().starts_with("plugin_"))
}

fn compile(source: &Path, name: &str, cache: &Cache) -> Result<PathBuf, String> {
    let include = source.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("include");
    let text = fs::read(source).map_err(|e| format!("{}: {e}", source.display()))?;
    let header = fs::read(include.join("victim.h")).unwrap_or_default();
    let output = if is_plugin(source) { format!("lib{name}.so") } else { name.to_string() };
    cache.make(&format!("victims/{output}"), &[&text, &header], |output| {
        let is_cpp = source.extension().is_some_and(|ending| ending == "cpp");
        let mut cc = Command::new(if is_cpp { "g++" } else { "gcc" });
        cc.arg(if is_cpp { "-std=c++17" } else { "-std=gnu11" });
        cc.args(["-g", "-O1", "-w", "-pthread", "-fno-omit-frame-pointer", "-Wl,-rpath,$ORIGIN"]);
        cc.args(if is_plugin(source) { &["-fPIC", "-shared"][..] } else { &[] });
        cc.arg("-I").arg(include).arg(source).arg("-ldl").arg("-o").arg(output);
        cc
    })
}

/// The kind of bug and the program's arguments, by the golden file. None if it is of no bug.
fn expected(source: &Path) -> Option<(String, Vec<String>)> {
    let text = fs::read(source.with_extension("golden.json")).ok()?;
    let golden: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let cases = golden["cases"].as_array().and_then(|cases| cases.first());
    let finding = [&golden, cases.unwrap_or(&golden)].into_iter().find_map(|part| part["findings"].get(0))?;
    let arguments = cases.and_then(|case| case["args"].as_array()).into_iter().flatten();
    let arguments = arguments.filter_map(|text| text.as_str().map(str::to_string)).collect();
    Some((finding["kind"].as_str()?.replace('-', " "), arguments))
}

fn run_one(
    program: &Path,
    arguments: &[String],
    allocator: &Allocator,
    launcher: &Launcher,
) -> Result<Outcome, String> {
    let argv = [program.into()].into_iter().chain(arguments.iter().map(Into::into)).collect();
    let mut allocator = allocator.clone();
    if allocator.ours {
        // Otherwise a program that closed its standard error could not be told from one in which nothing was found.
        allocator.env.push(("HEAPKEEPER".into(), "on-finding=abort".into()));
    }
    let (ended, said) = launcher.ending(&Job { argv, ..Job::default() }, &allocator, LIMIT_SECONDS)?;
    Ok(judge(&ended, said))
}

/// `ended` as the launcher says it: [`Launcher::ending`].
fn judge(ended: &str, said_something: bool) -> Outcome {
    if ended.starts_with("timeout:") {
        Outcome::Hung
    } else if said_something || ON_PURPOSE.contains(&ended) {
        Outcome::Caught
    } else if ended.starts_with("signal:") {
        Outcome::Crashed
    } else {
        Outcome::Missed
    }
}

/// The table: of each kind of bug, how many each allocator caught.
pub fn table(all: &[Caught], allocators: &[Allocator]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text =
        String::from("What is caught, of the victims of each kind (+n: so many others ended by a fault)\n");
    let _ = write!(text, "{:26}{:>8}", "", "victims");
    // The twin is the base once more.
    let columns: Vec<usize> = (0..allocators.len()).filter(|&index| index != 1).collect();
    columns.iter().for_each(|&index| _ = write!(text, "{:>12}", allocators[index].name));
    text.push('\n');
    let mut kinds: BTreeMap<&str, Vec<&Caught>> = BTreeMap::new();
    all.iter().for_each(|one| kinds.entry(&one.kind).or_default().push(one));
    let everything: Vec<&Caught> = all.iter().collect();
    let rows = kinds.into_iter().chain([("= all", everything)]);
    for (kind, victims) in rows {
        let _ = write!(text, "{kind:26}{:>8}", victims.len());
        for &index in &columns {
            let count = |wanted| victims.iter().filter(|one| one.outcomes[index] == wanted).count();
            let crashed = count(Outcome::Crashed) + count(Outcome::Hung);
            let more = if crashed > 0 { format!(" +{crashed}") } else { String::new() };
            let _ = write!(text, "{:>12}", format!("{}{more}", count(Outcome::Caught)));
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Every outcome, one a line.
pub fn csv(all: &[Caught], allocators: &[Allocator]) -> String {
    let mut text = String::from("victim,kind,allocator,outcome\n");
    for one in all {
        for (allocator, outcome) in allocators.iter().zip(&one.outcomes) {
            let _ = writeln!(text, "{},{},{},{}", one.name, one.kind, allocator.name, outcome.name());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_decide() {
        assert_eq!(judge("signal:6", false), Outcome::Caught);
        assert_eq!(judge("exit:0", true), Outcome::Caught);
        assert_eq!(judge("signal:11", false), Outcome::Crashed);
        assert_eq!(judge("exit:0", false), Outcome::Missed);
        assert_eq!(judge("exit:1", false), Outcome::Missed);
        assert_eq!(judge("timeout:10", false), Outcome::Hung);
    }

    #[test]
    fn the_table_counts_by_kind() {
        let one = |kind: &str, outcome| Caught {
            name: "x".into(),
            kind: kind.into(),
            outcomes: vec![Outcome::Missed, Outcome::Missed, outcome],
        };
        let all = [one("double free", Outcome::Caught), one("double free", Outcome::Crashed)];
        let names = ["base", "A/A", "ours"].map(Allocator::named);
        let text = table(&all, &names);
        assert!(text.contains("double free                      2           0        1 +1\n"), "{text}");
        assert!(!text.contains("A/A"), "{text}");
    }
}
