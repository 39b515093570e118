//! Real programs do the same on our heap as without it: the same output, the same files, the same exit status,
//! and no finding. What each does stands in a script of its own (`real/scripts`), which prints nothing that
//! differs from run to run; the script and all that it starts run on our heap.

use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::{Ended, Run};
use crate::suites::report::Report;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A real program.
pub struct Real {
    /// Its name, and that of its script.
    pub name: &'static str,
    /// What it does.
    pub script: &'static str,
    /// What has to be there.
    pub needs: &'static [&'static str],
    /// A program that must be among the processes on our heap.
    program: &'static str,
}

macro_rules! real {
    ($name:literal, $program:literal, $needs:expr) => {
        Real {
            name: $name,
            script: include_str!(concat!("real/scripts/", $name, ".sh")),
            needs: $needs,
            program: $program,
        }
    };
}

/// All of them.
pub const REAL: &[Real] = &[
    real!("bash", "/bash", &[]),
    real!("perl", "/perl", &["perl"]),
    real!("git", "/git", &["git"]),
    real!("gcc", "/cc1plus", &["gcc", "g++"]),
    real!("sqlite", "/sqlite3", &["sqlite3"]),
    real!("redis", "/redis-", &["redis-server", "redis-benchmark"]),
    real!("nginx", "/nginx", &["/usr/sbin/nginx", "ab"]),
    real!("node", "/node", &["node"]),
    real!("ghostscript", "/gs", &["gs"]),
    real!("sort", "/sort", &[]),
    real!("python", "/python3", &["/usr/bin/python3", "/usr/lib/python3.11/test/test_dict.py"]),
];

/// All of them.
pub fn suite(context: &mut Context) {
    for real in REAL {
        context.test_or_skip(real.name, |c| match packages::require(real.needs) {
            Err(why) => Outcome::Skipped(why),
            Ok(()) => same(c, real).into(),
        });
    }
}

/// What a run left behind.
struct Trace {
    ended: Ended,
    files: BTreeMap<String, Vec<u8>>,
}

fn same(context: &Context, real: &Real) -> Verdict {
    let limit = context.time_left(Duration::from_secs(if context.soak { 3600 } else { 240 }));
    let script = context.scratch.join(format!("{}.sh", real.name));
    std::fs::write(&script, real.script).map_err(|e| format!("{}: {e}", script.display()))?;
    let bash = Path::new("/bin/bash");
    let plain = trace(context, real.name, Run::new(bash, limit).arg(&script))?;
    let json = context.scratch.join(format!("{}.json", real.name));
    let _ = std::fs::remove_file(&json);
    let artefacts = context.artefacts()?;
    let ours = artefacts.run(&["--json", &json.to_string_lossy()], bash, limit).arg(&script);
    let ours = trace(context, real.name, ours)?;
    if plain.ended.timed_out || ours.ended.timed_out {
        let which = if plain.ended.timed_out { "without" } else { "with" };
        return Err(format!(
            "did not end within {} s {which} our heap\n{}",
            limit.as_secs(),
            ours.ended.last_lines(20)
        ));
    }
    let report = Report::read(&json).map_err(|text| format!("{text}\n{}", ours.ended.last_lines(20)))?;
    report.has_no_findings()?;
    if !report.processes.iter().any(|process| process.exe.contains(real.program)) {
        return Err(format!("no process of {} is on our heap", real.program));
    }
    compare(&plain, &ours)
}

/// Runs in an empty folder of the same name, so that paths in outputs are the same.
fn trace(context: &Context, name: &str, run: Run) -> Result<Trace, String> {
    let folder = context.scratch.join("real").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let scale = if context.soak { "20" } else { "1" };
    let ended = run.folder(&folder).env("SCALE", scale).ended()?;
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten() {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            files.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(Trace { ended, files })
}

fn compare(plain: &Trace, ours: &Trace) -> Verdict {
    if plain.ended.status != ours.ended.status {
        let shown = ours.ended.last_lines(20);
        return Err(format!(
            "{} without our heap, {} with it\n{shown}",
            plain.ended.status, ours.ended.status
        ));
    }
    if plain.ended.stdout != ours.ended.stdout {
        return Err(format!(
            "standard output differs\n{}",
            first_difference(&plain.ended.stdout, &ours.ended.stdout)
        ));
    }
    let own: String = ours
        .ended
        .stderr
        .lines()
        .filter(|l| !l.starts_with("heapkeeper:"))
        .map(|l| format!("{l}\n"))
        .collect();
    if plain.ended.stderr != own {
        return Err(format!("standard error differs\n{}", first_difference(&plain.ended.stderr, &own)));
    }
    let names = |trace: &Trace| trace.files.keys().cloned().collect::<Vec<_>>();
    if names(plain) != names(ours) {
        return Err(format!("files {:?} without our heap, {:?} with it", names(plain), names(ours)));
    }
    match plain.files.iter().find(|(name, bytes)| ours.files[*name] != **bytes) {
        Some((name, _)) => Err(format!("the file {name} differs")),
        None => Ok(()),
    }
}

fn first_difference(plain: &str, ours: &str) -> String {
    let (mut left, mut right) = (plain.lines(), ours.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (a, b) if a != b => {
                return format!(
                    "line {number}\n  without: {}\n  with:    {}",
                    a.unwrap_or("(end)"),
                    b.unwrap_or("(end)")
                );
            }
            _ => {}
        }
    }
    "in its line ends".into()
}
