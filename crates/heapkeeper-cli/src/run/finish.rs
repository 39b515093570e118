//! After CMD's end: the summary, the files that were asked for, and the same end.

use super::Run;
use super::descendants::{self, Descendant};
use super::supervise::Ended;
use super::watch::Watcher;
use crate::os::{self, Resources};
use crate::{Failure, VerbResult, inspect};
use hk_report::{Exit, Figure, NotCovered, Report, RunFacts, assemble, clean, summary_text, to_json};
use std::path::Path;
use std::process::{Child, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is remembered of the moment before CMD was started.
pub struct Started {
    time_ns: u64,
    /// Our own resident size: until its exec, CMD is a copy of us.
    own_resident_bytes: u64,
}

impl Started {
    /// The present moment.
    pub fn now() -> Started {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Started { time_ns: now.as_nanos() as u64, own_resident_bytes: own_resident_bytes() }
    }
}

fn own_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|n| n.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Sums up and ends as CMD ended. An error of ours wins over CMD's status: whoever asked for the files has
/// to learn that they are not there.
pub fn finish(
    mut run: Run,
    child: &Child,
    started: &Started,
    mut watcher: Watcher,
    ended: Ended,
) -> VerbResult {
    let report = report(&run, child, started, &mut watcher, ended);
    match report {
        Ok(report) => {
            tell(&run, &mut watcher, &report, ended);
            let recorded = report.processes.iter().filter(|p| p.state == "running").map(|p| p.pid);
            let running = descendants::running(run.recording.path(), recorded);
            keep_or_discard(&run, &report, &running);
            if let Some(output) = run.json.take() {
                output.commit(to_json(&report).as_bytes())?;
            }
        }
        Err(failure) => {
            run.sink.line(&failure.to_string());
            return Ok(ExitCode::from(crate::failure::OWN_ERROR));
        }
    }
    run.sink.check()?;
    end_as(ended.exit)
}

fn report(
    run: &Run,
    child: &Child,
    started: &Started,
    watcher: &mut Watcher,
    ended: Ended,
) -> Result<Report, Failure> {
    let facts = RunFacts {
        command: Some(run.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()),
        exit: Some(ended.exit),
        resident_peak: ended.resources.map(|r| resident_peak(r, started)),
    };
    let mut report = assemble(&watcher.recording, &mut watcher.symbolizer, &facts, &inspect::explain)
        .map_err(Failure::new)?;
    if !is_covered(watcher, child.id(), started)? {
        add_uncovered_command(&mut report, run, child.id());
    }
    Ok(report)
}

/// The kernel's figure counts the moment before the exec too, when CMD was a copy of us.
fn resident_peak(resources: Resources, started: &Started) -> Figure {
    let peak = resources.resident_peak_bytes;
    // Our own size may have grown a little on the way to the fork.
    let own = started.own_resident_bytes + started.own_resident_bytes / 8;
    if peak > own { Figure::exact(peak) } else { Figure::estimate(peak, peak) }
}

fn is_covered(watcher: &Watcher, pid: u32, started: &Started) -> Result<bool, Failure> {
    let processes = watcher.recording.processes().map_err(Failure::new)?;
    Ok(processes.iter().any(|(_, process)| process.pid == pid && process.start_ns >= started.time_ns))
}

fn add_uncovered_command(report: &mut Report, run: &Run, pid: u32) {
    let path = run.program.as_deref().unwrap_or(Path::new(&run.command[0]));
    let entry = NotCovered {
        path: path.to_string_lossy().into_owned(),
        reason: run.obstacle.clone().unwrap_or_else(|| inspect::explain(path)),
        pid,
        times: 1,
    };
    report.not_covered.insert(0, entry);
    report.summary.not_covered += 1;
}

fn tell(run: &Run, watcher: &mut Watcher, report: &Report, ended: Ended) {
    // Those whose process died while the stack was taken became visible only now.
    for found in &report.findings {
        watcher.tell(found.clone());
    }
    let name = run.command[0].to_string_lossy();
    if let Exit::Signal(signal) = ended.exit {
        run.sink.line(&format!("{} was ended by {}", clean(&name), os::signal_name(signal)));
    }
    run.sink.text(&summary_text(report, run.sink.style()));
}

/// A recording with findings is of use later, and one that is still being written to; others are not.
fn keep_or_discard(run: &Run, report: &Report, running: &[Descendant]) {
    let path = run.recording.path().display();
    if let Some(first) = running.first() {
        let what = hk_report::count(running.len() as u64, "process");
        let among = if running.len() > 1 { "among them " } else { "" };
        run.sink.line(&format!(
            "{what} of this run still going on ({among}{} {}); what is found from now on: heapkeeper report {path}",
            clean(&first.name),
            first.pid
        ));
    } else if !run.recording.is_kept() {
        match report.findings.is_empty() {
            true => run.recording.discard(),
            false => run.sink.line(&format!("to see this again: heapkeeper report {path}")),
        }
    }
}

fn end_as(exit: Exit) -> VerbResult {
    match exit {
        Exit::Status(status) => Ok(ExitCode::from(status as u8)),
        Exit::Signal(signal) => {
            os::die_by(signal);
            // Not every signal ends a process that asks for it: the shells' way of telling.
            Ok(ExitCode::from((128 + signal) as u8))
        }
    }
}
