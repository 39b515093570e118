//! The suites that cargo runs: unit and model tests, loom, Miri, a sanitizer, the benches.

use crate::context::Context;
use crate::outcome::{Outcome, Tally, tail};
use crate::packages;
use crate::process::{Ended, Run};
use std::time::Duration;

/// Tests that need a program which not every machine has: the program, the test file, and what the tests'
/// names hold. A plain `cargo test` lets them pass where it is missing; here they are skipped, and counted as
/// that.
const WITH_PROGRAMS: &[(&str, &str, &str)] =
    &[("chromium", "browser", "in_chromium"), ("xmllint", "junit", "by_xmllint")];

/// std is not instrumented: its channels, by which the test harness hears of results, and its locks, as that of the fake operating system's
/// pages, look like races.
const NO_RACES: &str =
    "race:std::sync::mpmc\nrace:alloc::sync::Arc\nrace:test::\nrace:hk_os::fake::Fake>::set_pages\n";

/// Unit and model tests of all crates but the preload library, which has no test build.
pub fn unit(context: &mut Context) {
    let words = ["test", "--workspace", "--exclude", "hk-preload", "--no-fail-fast", "--"];
    let skips = WITH_PROGRAMS.iter().flat_map(|(_, _, name)| ["--skip", name]);
    count_tests(context, "cargo test", |run| run.args(words).args(skips));
    for (program, test, name) in WITH_PROGRAMS {
        match packages::require(&[program]) {
            Ok(()) => count_tests(context, name, |run| {
                run.args(["test", "--package", "hk-report", "--test", test, "--", name])
            }),
            Err(why) => skip(context, name, &why),
        }
    }
}

/// The loom models. They are built apart: their atomics are loom's.
pub fn loom(context: &mut Context) {
    let target = context.target.join("loom");
    let preemptions = if context.soak { "4" } else { "2" };
    for models in [["hk-heap", "--test=loom"], ["hk-guard", "--lib"], ["hk-os", "--test=loom_gate"]] {
        count_tests(context, &format!("loom {}", models[0]), |run| {
            run.args(["test", "--release", "--package"])
                .args(models)
                .env("RUSTFLAGS", "--cfg hk_loom")
                .env("LOOM_MAX_PREEMPTIONS", preemptions)
                .env("CARGO_TARGET_DIR", &target)
        });
    }
}

/// Miri over the crates that run on the fake operating system.
pub fn miri(context: &mut Context) {
    let present =
        Run::new("cargo", Duration::from_secs(20)).args(["+nightly", "miri", "--version"]).succeeds();
    if present.is_err() {
        return skip(context, "miri", "Miri is not installed; rustup +nightly component add miri rust-src");
    }
    let target = context.target.join("miri");
    count_tests(context, "miri", |run| {
        run.args(["+nightly", "miri", "test"])
            .args(["hk-format", "hk-heap", "hk-guard"].iter().flat_map(|package| ["--package", package]))
            .env("MIRIFLAGS", "-Zmiri-permissive-provenance")
            .env("CARGO_TARGET_DIR", target)
    });
}

/// The tests of the heap and of guarded blocks under nightly's sanitizers, where that toolchain is installed.
pub fn sanitizers(context: &mut Context) {
    let present = Run::new("cargo", Duration::from_secs(20)).args(["+nightly", "--version"]).succeeds();
    if present.is_err() {
        return skip(context, "sanitizers", "no nightly toolchain; rustup toolchain install nightly");
    }
    let suppressions = context.scratch.join("thread-sanitizer.txt");
    if let Err(e) = std::fs::write(&suppressions, NO_RACES) {
        return context.record("sanitizers", Err(format!("{}: {e}", suppressions.display())));
    }
    let options = format!("suppressions={}", suppressions.display());
    for sanitizer in ["thread", "address"] {
        let target = context.target.join("sanitizers").join(sanitizer);
        // The fork test's threads share a std Mutex, whose slow path is std's own and so looks like a race. The short run has what
        // runs in several threads, and what touches memory in ways of its own.
        let (heap, guard): (&[&str], &[&str]) = match (sanitizer, context.soak) {
            ("thread", true) => (
                &["--lib", "--test=model", "--test=operations", "--test=shrink", "--test=threads"],
                &["--lib", "--test=threads"],
            ),
            ("thread", false) => (&["--test=operations", "--test=threads"], &["--test=threads"]),
            (_, true) => (&["--lib", "--tests"], &["--lib", "--tests"]),
            (_, false) => (
                &["--lib", "--test=model", "--test=operations", "--test=fork", "--test=threads"],
                &["--lib", "--tests"],
            ),
        };
        for (package, tests) in [("hk-heap", heap), ("hk-guard", guard)] {
            count_tests(context, &format!("{sanitizer} {package}"), |run| {
                run.args(["+nightly", "test", "--package", package])
                    .args(tests)
                    .args(["--target", "x86_64-unknown-linux-gnu"])
                    .env(
                        "RUSTFLAGS",
                        format!("-Zsanitizer={sanitizer} -Cunsafe-allow-abi-mismatch=sanitizer"),
                    )
                    .env("TSAN_OPTIONS", &options)
                    .env("ASAN_OPTIONS", "detect_leaks=0") // heaps are never dropped
                    .env("CARGO_TARGET_DIR", &target)
            });
        }
    }
}

/// The benchmarks; they keep their raw results themselves.
pub fn bench(context: &mut Context) {
    context.test("bench", |c| {
        let out = c.results.as_ref().ok_or("only the long run keeps results")?.with_extension("bench");
        let library = &c.artefacts()?.library;
        let ended = Run::new("cargo", c.time_left(Duration::MAX))
            .args(["run", "--release", "--package", "hk-bench", "--", "--install", "--check", "--lib"])
            .arg(library)
            .arg("--out")
            .arg(out)
            .folder(&c.root)
            .succeeds()?;
        println!("{}", ended.stdout.trim_end());
        Ok(())
    });
}

fn skip(context: &mut Context, name: &str, why: &str) {
    context.record(name, Outcome::Skipped(why.into()));
}

/// Runs cargo and takes over what its test programs count.
fn count_tests(context: &mut Context, name: &str, options: impl FnOnce(Run) -> Run) {
    let limit = context.time_left(Duration::MAX);
    let run = options(Run::new("cargo", limit).folder(&context.root));
    let ended = match run.ended() {
        Ok(ended) => ended,
        Err(text) => return context.record(name, Err(text)),
    };
    let tally = counted(&ended.stdout);
    let skipped: Vec<(&str, &str)> = ended.stderr.lines().filter_map(skipped_test).collect();
    // libtest has counted them as passed: it knows of no test that finds out only as it runs.
    context.add(Tally { failed: 0, passed: tally.passed.saturating_sub(skipped.len()), ..tally });
    for (test, why) in skipped {
        context.record(test, Outcome::Skipped(why.into()));
    }
    for test in ended.stdout.lines().filter_map(failed_test) {
        context.record(test, Err(details(&ended, test)));
    }
    if ended.timed_out || (!ended.status.success() && tally.failed == 0) {
        context.record(name, Err(format!("{}\n{}", ended.how(limit), ended.last_lines(40))));
    } else if tally == Tally::default() {
        context.record(name, Err("no test ran".into()));
    }
}

/// The sum of all `test result:` lines.
fn counted(output: &str) -> Tally {
    let number = |line: &str, what: &str| {
        let words: Vec<&str> = line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|word| *word == what);
        at.and_then(|at| words.get(at.wrapping_sub(1))).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let mut tally = Tally::default();
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        tally += Tally {
            passed: number(line, "passed"),
            failed: number(line, "failed"),
            skipped: number(line, "ignored"),
        };
    }
    tally
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// A test's own word that it could not be told on this machine, and why.
fn skipped_test(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("skipped ")?.split_once(": ")
}

/// What a failed test printed, from its header to the next.
fn details(ended: &Ended, test: &str) -> String {
    let header = format!("---- {test} stdout ----");
    let text = ended.stdout.split_once(&header).map_or("", |(_, rest)| rest);
    tail(text.split("\n---- ").next().unwrap_or("").split("\nfailures:").next().unwrap_or("").trim(), 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_all_test_programs_say() {
        let output = "test a ... ok\ntest b::c ... FAILED\n\
            test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        assert_eq!(counted(output), Tally { passed: 43, failed: 1, skipped: 2 });
        assert_eq!(output.lines().filter_map(failed_test).collect::<Vec<_>>(), ["b::c"]);
    }

    #[test]
    fn reads_which_tests_were_skipped() {
        assert_eq!(
            skipped_test("skipped a::b: no cmake; apt-get install cmake"),
            Some(("a::b", "no cmake; apt-get install cmake"))
        );
        assert_eq!(skipped_test("   Compiling skipped v0.1.0"), None);
    }
}
