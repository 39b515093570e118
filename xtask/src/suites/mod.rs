//! The table of suites, and how one is run.

mod build;
mod cargo;
mod command;
mod guarded;
mod instructions;
mod known_bugs;
mod limits;
mod programs;
mod real;
mod report;
mod stacks;
mod style;
mod victims;

use crate::context::Context;
use crate::outcome::Tally;
use crate::{packages, tidy};
use std::time::{Duration, Instant};

/// How many times its budget a suite may take before it fails.
const PATIENCE: u32 = 3;

/// A list of tests with a budget.
pub struct Suite {
    /// One word.
    pub name: &'static str,
    /// What it tests.
    pub what: &'static str,
    /// Its budget, on a machine with two cores to itself; those of [`TEST`] are twenty minutes in all. On a busy machine, or
    /// with everything still to be compiled, a suite may take [`PATIENCE`] times as long; what comes later fails.
    pub seconds: u64,
    run: fn(&mut Context),
}

const fn suite(name: &'static str, seconds: u64, run: fn(&mut Context), what: &'static str) -> Suite {
    Suite { name, what, seconds, run }
}

/// What CI runs, in this order.
pub const TEST: &[Suite] = &[
    suite("setup", 60, setup, "what the tests need and may be installed"),
    suite("format", 10, style::format, "rustfmt finds nothing to change"),
    suite("clippy", 60, style::clippy, "no warnings"),
    suite("tidy", 10, tidy::suite, "arrows between crates, banned words, length of files"),
    suite("unit", 200, cargo::unit, "unit and model tests of all crates"),
    suite("loom", 40, cargo::loom, "every order of the heap's racing steps"),
    suite("miri", 60, cargo::miri, "undefined behaviour, over the fake operating system"),
    suite("sanitizers", 90, cargo::sanitizers, "data races and bad accesses in the heap's tests"),
    suite("build", 100, build::suite, "the command with the library inside, and what the library imports"),
    suite("victims", 110, victims::suite, "every bug is reported as promised, and its twin is not"),
    suite("known-bugs", 60, known_bugs::suite, "bugs of every class, and what other tools make of them"),
    suite("programs", 110, programs::suite, "threads, fork, signals, limits of the malloc family"),
    suite("limits", 30, limits::suite, "out of memory, and memory given back"),
    suite("instructions", 20, instructions::suite, "how many instructions malloc and free take"),
    suite(
        "command",
        30,
        command::suite,
        "exit statuses, signals, job control, children, cache of the command",
    ),
    suite("real", 170, real::suite, "real programs behave the same, and no finding is made up"),
];

/// What takes longer.
pub const SOAK: &[Suite] = &[
    suite("build", 600, build::suite, "the command with the library inside"),
    suite("loom", 3600, cargo::loom, "every order of the heap's racing steps, with more preemptions"),
    suite(
        "sanitizers",
        900,
        cargo::sanitizers,
        "data races and bad accesses in all tests of the heap and of guarded blocks",
    ),
    suite("victims", 1800, victims::suite, "every victim ten times over"),
    suite(
        "known-bugs",
        1800,
        known_bugs::suite,
        "over a thousand variants of known bugs, beside other tools",
    ),
    suite("programs", 3600, programs::suite, "the programs with long runs"),
    suite("limits", 1200, limits::suite, "also with overcommit off"),
    suite("real", 3600, real::suite, "big workloads, python's test suite in whole"),
    suite("stacks", 600, stacks::suite, "stacks of allocations are those that gdb finds"),
    suite("guarded", 3600, guarded::suite, "real programs with all blocks guarded, and what that costs"),
    suite("bench", 7200, cargo::bench, "benchmarks beside other heaps"),
];

/// Runs a suite and prints its line.
pub fn run(suite: &Suite, context: &mut Context) -> Tally {
    let budget = Duration::from_secs(suite.seconds) * PATIENCE;
    let start = Instant::now();
    context.begin(budget);
    let needs_command = [
        "victims",
        "known-bugs",
        "programs",
        "limits",
        "instructions",
        "command",
        "real",
        "guarded",
        "bench",
    ]
    .contains(&suite.name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ci_runs_takes_twenty_minutes_at_most() {
        assert!(TEST.iter().map(|suite| suite.seconds).sum::<u64>() <= 20 * 60);
    }
}
