//! After CMD's end: the report, and what becomes of the recording.

use super::descendants;
use super::recording::RecordingFile;
use super::session::Session;
use super::supervise::Ended;
use super::watch::Watcher;
use crate::lines::Sink;
use crate::os::{self, Resources};
use crate::{Failure, inspect};
use hk_report::{Exit, Figure, NotCovered, Report, RunFacts, assemble, clean};
use std::path::Path;
use std::process::Child;
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

/// How a run of CMD came out.
pub struct Ran {
    /// Not judged yet.
    pub report: Report,
    /// How CMD ended.
    pub exit: Exit,
    /// Whether somebody asked CMD, or us, to end.
    pub interrupted: bool,
}

/// The whole report of a run that has ended.
pub fn report(
    session: &Session,
    child: &Child,
    started: &Started,
    watcher: &mut Watcher,
    ended: Ended,
) -> Result<Report, Failure> {
    let facts = RunFacts {
        command: Some(session.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()),
        exit: Some(ended.exit),
        resident_peak: ended.resources.map(|r| resident_peak(r, started)),
    };
    let mut report = assemble(&watcher.recording, &mut watcher.symbolizer, &facts, &inspect::explain)
        .map_err(Failure::new)?;
    if !is_covered(watcher, child.id(), started)? {
        add_uncovered_command(&mut report, session, child.id());
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

fn add_uncovered_command(report: &mut Report, session: &Session, pid: u32) {
    let path = session.program.as_deref().unwrap_or(Path::new(&session.command[0]));
    let entry = NotCovered {
        path: path.to_string_lossy().into_owned(),
        reason: session.obstacle.clone().unwrap_or_else(|| inspect::explain(path)),
        pid,
        times: 1,
    };
    report.not_covered.insert(0, entry);
    report.summary.not_covered += 1;
}

/// Says which signal ended CMD, if one did.
pub fn tell_end(session: &Session, report: &Report) {
    if let Some(signal) = report.exit_signal {
        let name = session.command[0].to_string_lossy();
        session.sink.line(&format!("{} was ended by {}", clean(&name), os::signal_name(signal)));
    }
}

/// What a run leaves behind.
pub struct Rest {
    /// Processes that had told no end.
    unended: Vec<u32>,
    has_findings: bool,
}

impl Rest {
    /// From the run's own report.
    pub fn of(report: &Report) -> Rest {
        let unended = report.processes.iter().filter(|process| process.state == "running");
        Rest {
            unended: unended.map(|process| process.pid).collect(),
            has_findings: !report.findings.is_empty(),
        }
    }
}

/// A recording with findings is of use later, and one that is still being written to; others are not.
pub fn keep_or_discard(sink: &Sink, recording: &RecordingFile, rest: &Rest, report: &Report) {
    let path = recording.path().display();
    let running = descendants::running(recording.path(), rest.unended.iter().copied());
    if let Some(first) = running.first() {
        let what = hk_report::count(running.len() as u64, "process");
        let among = if running.len() > 1 { "among them " } else { "" };
        sink.line(&format!(
            "{what} of this run still going on ({among}{} {}); what is found from now on: heapkeeper report {path}",
            clean(&first.name),
            first.pid
        ));
    } else if !recording.is_kept() {
        let is_of_use = report.findings.iter().any(|finding| finding.status != "suppressed");
        match rest.has_findings && is_of_use {
            true => sink.line(&format!("to see this again: heapkeeper report {path}")),
            false => recording.discard(),
        }
    }
}
