//! The table of suites, and how one is run.

mod build;
mod cargo;
mod command;
mod limits;
mod programs;
mod real;
mod report;
mod style;
mod victims;

use crate::context::Context;
use crate::outcome::Tally;
use crate::{packages, tidy};
use std::time::{Duration, Instant};

/// A list of tests with a budget.
pub struct Suite {
    /// One word.
    pub name: &'static str,
    /// What it tests.
    pub what: &'static str,
    /// Its budget: tests that come later fail.
    pub minutes: u64,
    run: fn(&mut Context),
}

const fn suite(name: &'static str, minutes: u64, run: fn(&mut Context), what: &'static str) -> Suite {
    Suite { name, what, minutes, run }
}

/// What CI runs, in this order.
pub const TEST: &[Suite] = &[
    suite("setup", 4, setup, "what the tests need and may be installed"),
    suite("format", 1, style::format, "rustfmt finds nothing to change"),
    suite("clippy", 4, style::clippy, "no warnings"),
    suite("tidy", 1, tidy::suite, "arrows between crates, banned words, length of files"),
    suite("unit", 4, cargo::unit, "unit and model tests of all crates"),
    suite("loom", 3, cargo::loom, "every order of the heap's racing steps"),
    suite("miri", 3, cargo::miri, "undefined behaviour, over the fake operating system"),
    suite("sanitizers", 3, cargo::sanitizers, "data races and bad accesses in the heap's tests"),
    suite("build", 4, build::suite, "the command with the library inside, and what the library imports"),
    suite("victims", 4, victims::suite, "every bug is reported as promised, and its twin is not"),
    suite("programs", 4, programs::suite, "threads, fork, signals, limits of the malloc family"),
    suite("limits", 3, limits::suite, "out of memory, and memory given back"),
    suite(
        "command",
        3,
        command::suite,
        "exit statuses, signals, job control, children, cache of the command",
    ),
    suite("real", 6, real::suite, "real programs behave the same, and no finding is made up"),
];

/// What takes longer.
pub const SOAK: &[Suite] = &[
    suite("build", 10, build::suite, "the command with the library inside"),
    suite("loom", 60, cargo::loom, "every order of the heap's racing steps, with more preemptions"),
    suite("victims", 30, victims::suite, "every victim ten times over"),
    suite("programs", 60, programs::suite, "the programs with long runs"),
    suite("limits", 20, limits::suite, "also with overcommit off"),
    suite("real", 60, real::suite, "big workloads, python's test suite in whole"),
    suite("bench", 120, cargo::bench, "benchmarks beside other heaps"),
];

/// Runs a suite and prints its line.
pub fn run(suite: &Suite, context: &mut Context) -> Tally {
    let budget = Duration::from_secs(suite.minutes * 60);
    let start = Instant::now();
    context.begin(budget);
    let needs_command = ["victims", "programs", "limits", "command", "real", "bench"].contains(&suite.name);
    match needs_command.then(|| build::ensure(context)) {
        Some(Err(text)) => context.record(suite.name, Err(text)),
        _ => (suite.run)(context),
    }
    let elapsed = start.elapsed();
    if elapsed > budget {
        context.record(suite.name, Err(format!("took {} s of {} s", elapsed.as_secs(), budget.as_secs())));
    }
    let tally = context.tally();
    context.say(&format!("{:10} {tally} in {:.1} s", suite.name, elapsed.as_secs_f64()));
    tally
}

/// Installs what is missing where that is allowed; elsewhere single tests are skipped.
fn setup(context: &mut Context) {
    let missing = packages::NEEDS.iter().any(|need| !packages::is_there(need.file));
    if !missing {
        return;
    }
    if let Err(why) = packages::setup() {
        context.record("packages", crate::outcome::Outcome::Skipped(why));
    }
}
