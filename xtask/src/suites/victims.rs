//! The victims: one bug each, what the heap promises about it, and the twin without the bug.
//!
//! Each is compiled with and without frame pointers and run three times: `report` (the finding is the golden
//! one, the program goes on and its blocks are intact; in both modes), `abort` (it is stopped by SIGABRT), and its twin (no
//! finding). One folder per language; what a golden file may say is in [`golden`].

mod golden;

use crate::compile::{self, Job, ending, files, stem};
use crate::context::Context;
use crate::outcome::Verdict;
use crate::process::Ended;
use crate::suites::report::Report;
use golden::{Case, Golden};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const SIGABRT: i32 = 6;

/// How a victim is compiled: a folder's name and the flags of each language.
struct Build {
    name: &'static str,
    c_flags: &'static [&'static str],
    rust_flags: &'static [&'static str],
}

impl Build {
    /// Where its programs lie; twins have the same name and a folder of their own.
    fn folder(&self, above: &Path, twin: bool) -> PathBuf {
        above.join(self.name).join(if twin { "twins" } else { "victims" })
    }
}

const BUILDS: &[Build] = &[
    Build {
        name: "frames",
        c_flags: &["-fno-omit-frame-pointer"],
        rust_flags: &["-C", "force-frame-pointers=yes"],
    },
    Build { name: "frameless", c_flags: &["-fomit-frame-pointer"], rust_flags: &[] },
];

/// All victims.
pub fn suite(context: &mut Context) {
    let victims = match sources(&context.root.join("victims")) {
        Ok(victims) => victims,
        Err(text) => return context.record("victims", Err(text)),
    };
    let folder = context.scratch.join("victims");
    let wanted: Vec<PathBuf> =
        victims.into_iter().filter(|s| is_shared_part(s) || context.wants(&stem(s))).collect();
    let mut broken: Vec<PathBuf> = Vec::new();
    for (source, text) in compile::all(&jobs(&wanted, &folder)) {
        if !broken.contains(&source) {
            context.record(&format!("{} compiles", stem(&source)), Err(text));
            broken.push(source);
        }
    }
    let rounds = if context.soak { 10 } else { 1 };
    for source in wanted.iter().filter(|source| !is_shared_part(source) && !broken.contains(source)) {
        match Golden::beside(source) {
            Ok(golden) => (0..rounds).for_each(|_| run_victim(context, source, &golden, &folder)),
            Err(text) => context.record(&stem(source), Err(text)),
        }
    }
}

/// One C victim with frame pointers, for other suites.
pub fn compiled_victim(context: &Context, name: &str) -> Result<PathBuf, String> {
    let source = context.root.join(format!("victims/c/{name}.c"));
    let folder = BUILDS[0].folder(&context.scratch.join("victims"), false);
    match compile::all(&[job(&source, &BUILDS[0], false, &folder)]).pop() {
        Some((_, text)) => Err(text),
        None => Ok(folder.join(name)),
    }
}

fn sources(victims: &Path) -> Result<Vec<PathBuf>, String> {
    let mut sources = files(&victims.join("c"), &["c"])?;
    sources.extend(files(&victims.join("cpp"), &["cpp"])?);
    sources.extend(files(&victims.join("rust"), &["rs"])?);
    Ok(sources)
}

fn is_plugin(source: &Path) -> bool {
    stem(source).starts_with("plugin_")
}

/// Not a program by itself.
fn is_shared_part(source: &Path) -> bool {
    is_plugin(source) || stem(source) == "victim"
}

fn jobs(victims: &[PathBuf], folder: &Path) -> Vec<Job> {
    let mut jobs = Vec::new();
    for source in victims.iter().filter(|source| stem(source) != "victim") {
        for build in BUILDS {
            for twin in [false, true] {
                jobs.push(job(source, build, twin, &build.folder(folder, twin)));
            }
        }
    }
    jobs
}

fn job(source: &Path, build: &Build, twin: bool, folder: &Path) -> Job {
    let strings = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let mut flags;
    if ending(source) == "rs" {
        flags = strings(build.rust_flags);
        flags.extend(strings(if twin { &["--cfg", "twin"] } else { &[] }));
        flags.push("--check-cfg=cfg(twin)".into());
    } else {
        let include = source.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("include");
        flags = vec![format!("-I{}", include.display()), "-ldl".into()];
        flags.extend(strings(build.c_flags));
        flags.extend(strings(if twin { &["-DTWIN"] } else { &[] }));
        flags.extend(strings(if is_plugin(source) { &["-fPIC", "-shared"] } else { &[] }));
    }
    let name = stem(source);
    let output = if is_plugin(source) { format!("lib{name}.so") } else { name };
    Job { source: source.to_path_buf(), output: folder.join(output), flags }
}

fn run_victim(context: &mut Context, source: &Path, golden: &Golden, folder: &Path) {
    let name = stem(source);
    for case in golden.cases() {
        for build in BUILDS {
            let program = build.folder(folder, false).join(&name);
            let twin = build.folder(folder, true).join(&name);
            let label = |what: &str| format!("{} ({}, {what})", case.label(&name), build.name);
            context.test(&label("report"), |c| reports(c, &program, golden, &case, "manual"));
            // Frame pointers make no difference to what follows.
            if build.name == "frames" {
                context.test(&label("abort"), |c| aborts(c, &program, golden, &case));
                context.test(&label("twin"), |c| is_silent(c, &twin, golden, &case, "manual"));
                if !golden.needs_reuse {
                    context.test(&label("report, keep"), |c| reports(c, &program, golden, &case, "keep"));
                    context.test(&label("twin, keep"), |c| is_silent(c, &twin, golden, &case, "keep"));
                }
            }
        }
    }
}

fn run(context: &Context, program: &Path, case: &Case, options: &[&str]) -> Result<(Ended, Report), String> {
    let json = context.scratch.join("victim.json");
    let _ = std::fs::remove_file(&json);
    let path = json.to_string_lossy();
    // In a place of its own, or each finding would leave one in the temporary folder.
    let recording = context.scratch.join("victim.hkrec");
    let recording = recording.to_string_lossy();
    let files = ["--json", &path, "--record", &recording];
    let options: Vec<&str> = options.iter().copied().chain(files).collect();
    let ended = context.artefacts()?.run(&options, program, LIMIT).args(&case.args).ended()?;
    if ended.timed_out {
        return Err(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20)));
    }
    let report = Report::read(&json).map_err(|text| format!("{text}\n{}", ended.last_lines(20)))?;
    Ok((ended, report))
}

fn ends_well(ended: &Ended, golden: &Golden) -> Verdict {
    if (ended.status.code(), ended.status.signal()) != (golden.ends.exit, golden.ends.signal) {
        return Err(format!("{}, expected {:?}\n{}", ended.how(LIMIT), golden.ends, ended.last_lines(20)));
    }
    match ended.stdout == "survived\n" {
        true => Ok(()),
        false => Err(format!("printed '{}', expected 'survived'", ended.stdout)),
    }
}

/// The finding is the golden one, and the program goes on as if the bad call had not been made.
fn reports(context: &Context, program: &Path, golden: &Golden, case: &Case, mode: &str) -> Verdict {
    let (ended, report) = run(context, program, case, &["--mode", mode, "--on-finding", "report"])?;
    golden.matches(&report, case)?;
    if report.findings.iter().any(|finding| finding.aborted) {
        return Err(format!("'aborted' in a run that goes on\n{}", report.shown()));
    }
    ends_well(&ended, golden)
}

/// The program is stopped at the first bad call.
fn aborts(context: &Context, program: &Path, golden: &Golden, case: &Case) -> Verdict {
    let (ended, report) = run(context, program, case, &["--on-finding", "abort"])?;
    if ended.status.signal() != Some(SIGABRT) {
        return Err(format!(
            "{}, expected SIGABRT\n{}{}",
            ended.how(LIMIT),
            ended.last_lines(20),
            report.shown()
        ));
    }
    golden.matches_some(&report, case)?;
    match report.findings.iter().any(|finding| finding.aborted) {
        true => Ok(()),
        false => Err(format!("no finding is marked as the one that stopped it\n{}", report.shown())),
    }
}

/// The twin has no finding, and ends as the victim does.
fn is_silent(context: &Context, twin: &Path, golden: &Golden, case: &Case, mode: &str) -> Verdict {
    let (ended, report) = run(context, twin, case, &["--mode", mode, "--on-finding", "report"])?;
    report.has_no_findings()?;
    ends_well(&ended, golden)
}
