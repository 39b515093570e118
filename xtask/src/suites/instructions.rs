//! How many instructions malloc and free take, counted by callgrind: the same on every machine, however busy.
//!
//! A program makes (and frees) N blocks, then 2N; the difference over N is what one call costs, its share of the slow paths and two or
//! three instructions of the loop included. A change that makes a path longer has to raise its bound here, and say so.

use crate::compile::{self, Job};
use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::Run;
use std::path::Path;
use std::time::Duration;

/// Calls for each of the program's five sizes; twice as many in the longer run.
const CALLS: u64 = 10_000;
const SIZES: u64 = 5;

/// What a call may take, in instructions.
struct Bound {
    what: &'static str,
    instructions_max: f64,
}

const MALLOC: Bound = Bound { what: "malloc", instructions_max: 38.0 };
const FREE: Bound = Bound { what: "free", instructions_max: 46.0 };
/// A bound that is further than this above what is measured hides the next regression.
const SLACK: f64 = 0.08;

/// Both paths.
pub fn suite(context: &mut Context) {
    if let Err(why) = packages::require(&["valgrind"]) {
        return context.record("instructions", Outcome::Skipped(why));
    }
    context.test("malloc and free take no more instructions than they may", within_bounds);
}

fn within_bounds(context: &Context) -> Verdict {
    let program = context.scratch.join("paths");
    let job = Job {
        source: context.root.join("bench/workloads/paths.c"),
        output: program.clone(),
        flags: vec!["-fno-builtin".into()],
    };
    if let Some((_, text)) = compile::all(&[job]).pop() {
        return Err(format!("paths.c does not compile:\n{text}"));
    }
    let malloc = per_call(context, &program, "malloc")?;
    let free = per_call(context, &program, "both")? - malloc;
    context.say(&format!("instructions per call: malloc {malloc:.1}, free {free:.1}"));
    MALLOC.check(malloc).and(FREE.check(free))
}

impl Bound {
    fn check(&self, measured: f64) -> Verdict {
        let Bound { what, instructions_max } = self;
        if measured > *instructions_max {
            Err(format!("{what} takes {measured:.1} instructions, {instructions_max:.1} are allowed"))
        } else if measured < instructions_max * (1.0 - SLACK) {
            Err(format!(
                "{what} takes only {measured:.1} instructions: lower its bound of {instructions_max:.1}"
            ))
        } else {
            Ok(())
        }
    }
}

fn per_call(context: &Context, program: &Path, what: &str) -> Result<f64, String> {
    let once = count(context, program, what, CALLS)?;
    let twice = count(context, program, what, 2 * CALLS)?;
    Ok(twice.saturating_sub(once) as f64 / (CALLS * SIZES) as f64)
}

/// Instructions of a whole run.
fn count(context: &Context, program: &Path, what: &str, calls: u64) -> Result<u64, String> {
    let library = &context.artefacts()?.library;
    let ended = Run::new("valgrind", Duration::from_secs(60))
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([what, &calls.to_string()])
        .env("LD_PRELOAD", library)
        .succeeds()?;
    let collected = ended.stderr.lines().find_map(|line| line.split_once("Collected :"));
    let number = collected.and_then(|(_, rest)| rest.trim().parse().ok());
    number.ok_or_else(|| format!("valgrind does not tell what it collected:\n{}", ended.stderr))
}
