//! The stacks that the recorder takes of allocations are those that gdb finds: at a thousand points of a program in
//! C, in C++, in Rust, and of Python's extension modules, all optimised and without frame pointers.
//!
//! A library whose malloc takes stacks (an example of hk-recorder) is preloaded; gdb stops at each point.

use crate::compile::{self, Job};
use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::Run;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Points of a program that are looked at, and how many there must be at least.
const POINTS: u64 = 1000;
const POINTS_MIN: usize = 900;
/// How a stack ended, as the library writes it: whole, or cut at the most frames that are kept.
const WHOLE: u64 = 1;
const CUT: u64 = 2;

struct Program {
    name: &'static str,
    source: &'static str,
    flags: &'static [&'static str],
    needs: &'static [&'static str],
    /// Allocations to a point.
    every: u64,
}

const PROGRAMS: &[Program] = &[
    Program { name: "C", source: "points.c", flags: &["-O2"], needs: &["gcc"], every: 20 },
    Program { name: "C++", source: "points.cpp", flags: &["-O2"], needs: &["g++"], every: 20 },
    Program { name: "Rust", source: "points.rs", flags: &[], needs: &[], every: 20 },
    Program { name: "Python", source: "points.py", flags: &[], needs: &["/usr/bin/python3"], every: 60 },
];

/// All of them.
pub fn suite(context: &mut Context) {
    if !packages::is_there("gdb") {
        let why = "gdb missing; apt-get install gdb".into();
        return context.record("stacks", Outcome::Skipped(why));
    }
    let library = match library(context) {
        Ok(library) => library,
        Err(text) => return context.record("the library that takes stacks is built", Err(text)),
    };
    for program in PROGRAMS {
        context.test_or_skip(program.name, |c| match packages::require(program.needs) {
            Err(why) => Outcome::Skipped(why),
            Ok(()) => agrees(c, program, &library).into(),
        });
    }
}

fn library(context: &Context) -> Result<PathBuf, String> {
    Run::new("cargo", context.time_left(Duration::from_secs(400)))
        .args(["build", "--quiet", "--release", "--package", "hk-recorder", "--example", "stack_points"])
        .env("CARGO_TARGET_DIR", &context.target)
        .folder(&context.root)
        .succeeds()?;
    Ok(context.target.join("release/examples/libstack_points.so"))
}

/// Program counters of a point, innermost first; before them how the stack ended, if that is known.
type Points = BTreeMap<u64, Vec<u64>>;

fn agrees(context: &Context, program: &Program, library: &Path) -> Verdict {
    let words = command(context, program)?;
    let (ours, theirs) = (context.scratch.join("points-ours"), context.scratch.join("points-gdb"));
    let _ = std::fs::remove_file(&ours);
    let script = context.root.join("xtask/src/suites/stacks/points_in_gdb.py");
    Run::new("gdb", context.time_left(Duration::from_secs(300)))
        .args(["-q", "-nx", "-batch"])
        .args(["-ex", &format!("source {}", script.display())])
        .args(["-ex", &format!("set environment LD_PRELOAD {}", library.display())])
        .args(["-ex", &format!("python run('libstack_points.so', '{}')", theirs.display())])
        .arg("--args")
        .args(words)
        .env("HK_STACKS_FILE", &ours)
        .env("HK_STACKS_EVERY", program.every.to_string())
        .env("HK_STACKS_POINTS", POINTS.to_string())
        // Else Python's small blocks never come to malloc.
        .env("PYTHONMALLOC", "malloc")
        .succeeds()?;
    compare(context, program, &read(&ours)?, &read(&theirs)?)
}

/// The program to run, compiled if need be.
fn command(context: &Context, program: &Program) -> Result<Vec<PathBuf>, String> {
    let source = context.root.join("xtask/src/suites/stacks").join(program.source);
    if compile::ending(&source) == "py" {
        return Ok(vec!["/usr/bin/python3".into(), source]);
    }
    let output = context.scratch.join(format!("points-{}", compile::ending(&source)));
    let flags = program.flags.iter().map(ToString::to_string).collect();
    let job = Job { source, output: output.clone(), flags };
    match compile::all(&[job]).pop() {
        Some((_, text)) => Err(format!("{} does not compile:\n{text}", program.source)),
        None => Ok(vec![output]),
    }
}

/// Lines of hexadecimal numbers, of which the first is the point's.
fn read(path: &Path) -> Result<Points, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let numbers = |line: &str| -> Option<Vec<u64>> {
        line.split_whitespace().map(|word| u64::from_str_radix(word, 16).ok()).collect()
    };
    let point = |line: &str| {
        let all = numbers(line).filter(|all| !all.is_empty());
        let all = all.ok_or_else(|| format!("{}: '{line}' is no point", path.display()))?;
        Ok((all[0], all[1..].to_vec()))
    };
    text.lines().map(point).collect()
}

fn compare(context: &Context, program: &Program, ours: &Points, theirs: &Points) -> Verdict {
    let agree = |number: &u64, theirs: &[u64]| match ours.get(number).and_then(|all| all.split_first()) {
        Some((&ended, frames)) => frames == theirs && [WHOLE, CUT].contains(&ended),
        None => false,
    };
    let wrong: Vec<u64> =
        theirs.iter().filter(|(number, frames)| !agree(number, frames)).map(|(number, _)| *number).collect();
    let frames: usize = theirs.values().map(Vec::len).sum();
    context.say(&format!("stacks in {}: {} points, {frames} frames", program.name, theirs.len()));
    if let Some(first) = wrong.first() {
        let points = theirs.len();
        let [ours, theirs] = [ours, theirs].map(|points| points.get(first));
        return Err(format!(
            "{} of {} differ, first {first}:\nours   {ours:x?}\ngdb's  {theirs:x?}",
            wrong.len(),
            points
        ));
    }
    if theirs.len() < POINTS_MIN {
        return Err(format!("gdb stopped at {} points only", theirs.len()));
    }
    Ok(())
}
