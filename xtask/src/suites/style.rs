//! rustfmt and clippy.

use crate::context::Context;
use crate::outcome::Verdict;
use crate::process::Run;
use std::time::Duration;

fn cargo(context: &Context, words: &[&str]) -> Verdict {
    let limit = context.time_left(Duration::from_secs(300));
    Run::new("cargo", limit).args(words).folder(&context.root).succeeds().map(drop)
}

/// Nothing to change in any crate.
pub fn format(context: &mut Context) {
    context.test("cargo fmt", |c| cargo(c, &["fmt", "--all", "--check"]));
}

/// No warnings. The preload library has a panic handler of its own, so it has no test build.
pub fn clippy(context: &mut Context) {
    context.test("clippy of the workspace", |c| {
        cargo(
            c,
            &[
                "clippy",
                "--quiet",
                "--workspace",
                "--exclude",
                "hk-preload",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        )
    });
    context.test("clippy of hk-preload", |c| {
        cargo(
            c,
            &["clippy", "--quiet", "--package", "hk-preload", "--lib", "--release", "--", "-D", "warnings"],
        )
    });
}
