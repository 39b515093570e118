//! Real programs with all of their blocks guarded: nothing is found in them, and what it costs. The table goes to the results. Blocks are counted as
//! they are allocated; what children free that they had from their parents comes on top.

use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::Run;
use crate::suites::real::{REAL, Real};
use crate::suites::report::Report;
use std::path::Path;
use std::time::{Duration, Instant};

/// Up to so many guarded blocks a second of the program's own time it may take [`RATIO_MAX`] times as long.
const RATE_MAX: f64 = 200_000.0;
const RATIO_MAX: f64 = 3.0;
/// A program may take so long.
const LIMIT: Duration = Duration::from_secs(1200);

/// All of them.
pub fn suite(context: &mut Context) {
    context.test("pairs", pairs);
    context.say("program       plain s   guarded s   ratio   blocks/s   left out, as memory ran short");
    for real in REAL {
        context.test_or_skip(real.name, |c| match packages::require(real.needs) {
            Err(why) => Outcome::Skipped(why),
            Ok(()) => guarded(c, real).into(),
        });
    }
}

/// What guarding a block costs. Told, not judged: the machine may be busy.
fn pairs(context: &Context) -> Verdict {
    let source = context.root.join("xtask/src/suites/guarded/pairs.c");
    let program = context.scratch.join("pairs");
    Run::new("gcc", Duration::from_secs(60)).args(["-O2", "-o"]).arg(&program).arg(&source).succeeds()?;
    for settings in ["guard=off", "guard=1/5000", "guard=1/1", "guard=1/1,guard-batch=64"] {
        let ended = context.artefacts()?.preloaded(settings, &program, LIMIT).succeeds()?;
        context.say(&format!("{settings:24} {}", ended.stdout.trim_end()));
    }
    Ok(())
}

fn guarded(context: &Context, real: &Real) -> Verdict {
    let script = context.scratch.join(format!("{}.sh", real.name));
    std::fs::write(&script, real.script).map_err(|e| format!("{}: {e}", script.display()))?;
    let bash = Path::new("/bin/bash");
    let plain = seconds(context, Run::new(bash, LIMIT).arg(&script), &[0])?;
    let json = context.scratch.join(format!("{}-guarded.json", real.name));
    let _ = std::fs::remove_file(&json);
    let artefacts = context.artefacts()?;
    let checked = artefacts
        .verb("check", &["--leaks=off", "--json", &json.to_string_lossy()], bash, LIMIT)
        .arg(&script);
    // Blind, if memory for guards ran short.
    let checked = seconds(context, checked, &[0, 98])?;
    let report = Report::read(&json)?;
    report.has_no_findings()?;
    let (blocks, left_out) = report.guarded_blocks();
    let (rate, ratio) = (blocks as f64 / plain, checked / plain);
    context
        .say(&format!("{:12} {plain:8.2} {checked:11.2} {ratio:7.2} {rate:10.0} {left_out:10}", real.name));
    if rate <= RATE_MAX && ratio > RATIO_MAX {
        return Err(format!("{ratio:.2} times as long, with {rate:.0} blocks a second"));
    }
    Ok(())
}

/// How long it takes, in an empty folder.
fn seconds(context: &Context, run: Run, statuses: &[i32]) -> Result<f64, String> {
    let folder = context.scratch.join("guarded");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let start = Instant::now();
    let ended = run.folder(&folder).env("SCALE", "1").ended()?;
    let seconds = start.elapsed().as_secs_f64();
    match ended.status.code().is_some_and(|code| statuses.contains(&code)) && !ended.timed_out {
        true => Ok(seconds),
        false => Err(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20))),
    }
}
