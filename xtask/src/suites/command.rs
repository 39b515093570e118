//! What the command's own tests cannot do alone: a terminal, other libraries preloaded, other users, and
//! children of many kinds. (Exit statuses, streams, the cache folder and so on stand in the command's tests.)

use crate::context::Context;
use crate::outcome::{Outcome, Verdict};
use crate::packages;
use crate::process::{Ended, Run};
use crate::suites::programs::compiled;
use crate::suites::report::Report;
use crate::suites::victims::compiled_victim;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const JOB_CONTROL: &str = include_str!("command/job_control.py");

/// All of it.
pub fn suite(context: &mut Context) {
    context.test_or_skip("job control in a terminal", |c| match packages::require(&["/usr/bin/python3"]) {
        Err(why) => Outcome::Skipped(why),
        Ok(()) => job_control(c).into(),
    });
    context.test("a bare LD_PRELOAD prints one line for a finding", one_line);
    context.test("a bare LD_PRELOAD with on-finding=abort", bare_abort);
    context.test("a setting that is unknown is named and the rest holds", bad_setting);
    context.test("a library that is preloaded already stays", other_preload);
    context.test("findings of children of all kinds reach the one report", children);
    context.test_or_skip("a child that runs as another user", other_user);
    context.test("a child in another root folder", other_root);
    context.test("ten runs at once", at_once);
    if context.soak {
        context.test("cargo install gives a working command", install);
    }
}

fn job_control(context: &Context) -> Verdict {
    let script = context.scratch.join("job_control.py");
    std::fs::write(&script, JOB_CONTROL).map_err(|e| format!("{}: {e}", script.display()))?;
    let artefacts = context.artefacts()?;
    let run = Run::new("/usr/bin/python3", LIMIT).arg(&script).arg(&artefacts.command);
    run.env("XDG_CACHE_HOME", &artefacts.cache).succeeds().map(drop)
}

fn victim(context: &Context) -> Result<PathBuf, String> {
    compiled_victim(context, "double_free_at_once")
}

fn one_line(context: &Context) -> Verdict {
    let ended = context.artefacts()?.preloaded("", &victim(context)?, LIMIT).ended()?;
    let lines: Vec<&str> = ended.stderr.lines().collect();
    match lines.as_slice() {
        [line] if line.starts_with("heapkeeper: double free (CWE-415)") && ended.stdout == "survived\n" => {
            Ok(())
        }
        _ => Err(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20))),
    }
}

fn bare_abort(context: &Context) -> Verdict {
    let ended = context.artefacts()?.preloaded("on-finding=abort", &victim(context)?, LIMIT).ended()?;
    match (ended.status.signal(), ended.stderr.lines().count()) {
        (Some(6), 1) => Ok(()),
        _ => Err(format!("{}, expected SIGABRT\n{}", ended.how(LIMIT), ended.last_lines(20))),
    }
}

fn bad_setting(context: &Context) -> Verdict {
    let run = context.artefacts()?.run(&[], &victim(context)?, LIMIT);
    let ended = run.env("HEAPKEEPER", "speed=11,on-finding=abort").ended()?;
    match ended.status.signal() == Some(6) && ended.stderr.contains("speed=11") {
        true => Ok(()),
        false => Err(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20))),
    }
}

fn other_preload(context: &Context) -> Verdict {
    let folder = compiled(context, "constructors", &["-Wl,--no-as-needed", "-lconstructor_library"])?;
    let other = folder.with_file_name("libconstructor_library.so");
    let json = json(context);
    let options = ["--json", &json.to_string_lossy()];
    let run = context.artefacts()?.run(&options, Path::new("/bin/sh"), LIMIT);
    let ended =
        run.args(["-c", "echo \"$LD_PRELOAD\"; cat /proc/self/maps"]).env("LD_PRELOAD", &other).succeeds()?;
    let first = ended.stdout.lines().next().unwrap_or("");
    let ours_first = first.contains("heapkeeper") && first.ends_with("libconstructor_library.so");
    let both = ["libheapkeeper", "libconstructor_library"]
        .iter()
        .all(|name| ended.stdout.lines().skip(1).any(|line| line.contains(name)));
    match ours_first && both {
        true => Report::read(&json)?.has_no_findings(),
        false => Err(format!("LD_PRELOAD is '{first}', mapped both: {both}")),
    }
}

fn json(context: &Context) -> PathBuf {
    let path = context.scratch.join("command.json");
    let _ = std::fs::remove_file(&path);
    path
}

/// Runs a shell line and gives its report; `$1` is the victim.
fn shell(context: &Context, line: &str) -> Result<(Ended, Report), String> {
    let json = json(context);
    let run = context.artefacts()?.run(&["--json", &json.to_string_lossy()], Path::new("/bin/sh"), LIMIT);
    let ended = run.args(["-c", line, "sh"]).arg(victim(context)?).ended()?;
    let report = Report::read(&json).map_err(|text| format!("{text}\n{}", ended.last_lines(20)))?;
    Ok((ended, report))
}

fn children(context: &Context) -> Verdict {
    let line = "\"$1\"; env -i \"$1\"; (exec \"$1\"); setsid \"$1\"; nohup \"$1\" </dev/null 2>/dev/null; \
        echo \"$1\" | xargs env; exec env -u LD_PRELOAD -u HEAPKEEPER \"$1\"";
    let (ended, report) = shell(context, line)?;
    let calls: u64 = report.findings.iter().map(|finding| finding.repeats).sum();
    let survived = ended.stdout.lines().filter(|line| *line == "survived").count();
    match (calls, survived, report.findings.len()) {
        (7, 7, 1) => Ok(()),
        other => Err(format!(
            "(bad calls, survivors, findings) are {other:?}, expected (7, 7, 1)\n{}{}",
            report.shown(),
            ended.last_lines(20)
        )),
    }
}

/// The recording is the user's own (0600), so a child that becomes another user may not be able to open it;
/// it must run all the same.
fn other_user(context: &Context) -> Outcome {
    if Run::new("setpriv", LIMIT).args(["--reuid=65534", "true"]).succeeds().is_err() {
        return Outcome::Skipped("becoming another user needs root and setpriv (util-linux)".into());
    }
    let line = "cp /bin/echo /tmp/heapkeeper-echo && chmod 755 /tmp/heapkeeper-echo && \
        setpriv --reuid=65534 --clear-groups /tmp/heapkeeper-echo survived; s=$?; rm /tmp/heapkeeper-echo; exit $s";
    match shell(context, line) {
        Ok((ended, _)) if ended.status.success() && ended.stdout == "survived\n" => {
            only_our_lines(&ended).into()
        }
        Ok((ended, _)) => Outcome::Failed(format!("{}\n{}", ended.how(LIMIT), ended.last_lines(20))),
        Err(text) => Outcome::Failed(text),
    }
}

fn only_our_lines(ended: &Ended) -> Verdict {
    match ended.stderr.lines().find(|line| !line.starts_with("heapkeeper:")) {
        Some(line) => Err(format!("a line on standard error that is not the command's: {line}")),
        None => Ok(()),
    }
}

/// chroot to the same root: the recording's and the library's paths are the same there.
fn other_root(context: &Context) -> Verdict {
    let (ended, report) = shell(context, "chroot / \"$1\" || [ $? -eq 125 ]")?;
    let expected = usize::from(ended.stdout.contains("survived"));
    match ended.status.success() && report.findings.len() == expected {
        true => Ok(()),
        false => Err(format!("{}\n{}{}", ended.how(LIMIT), ended.last_lines(20), report.shown())),
    }
}

/// Each run has its own recording.
fn at_once(context: &Context) -> Verdict {
    let artefacts = context.artefacts()?;
    let victim = victim(context)?;
    let one = |number: usize| -> Verdict {
        let json = context.scratch.join(format!("command-{number}.json"));
        artefacts.run(&["--json", &json.to_string_lossy()], &victim, LIMIT).succeeds()?;
        match Report::read(&json)?.findings.len() {
            1 => Ok(()),
            count => Err(format!("{count} findings in run {number}")),
        }
    };
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..10).map(|number| scope.spawn(move || one(number))).collect();
        runs.into_iter().try_for_each(|run| run.join().map_err(|_| "a run panicked".to_string())?)
    })
}

/// The way a user gets it.
fn install(context: &Context) -> Verdict {
    let root = context.scratch.join("install");
    let limit = context.time_left(Duration::from_secs(900));
    Run::new("cargo", limit)
        .args(["install", "--locked", "--path", "crates/heapkeeper-cli", "--root"])
        .arg(&root)
        .folder(&context.root)
        .succeeds()?;
    let ended =
        Run::new(root.join("bin/heapkeeper"), LIMIT).args(["run", "--", "/bin/echo", "ok"]).succeeds()?;
    match ended.stdout == "ok\n" {
        true => Ok(()),
        false => Err(ended.last_lines(20)),
    }
}
