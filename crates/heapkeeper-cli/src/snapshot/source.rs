//! Where a snapshot comes from: the one place that knows what FILE|PID on the command line can be.

use crate::live::{self, failed};
use crate::{Failure, lines};
use hk_format::SnapshotHeader;
use hk_graph::{Snapshot, SnapshotError, read};
use hk_report::{clean, duration};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

/// Between two looks at a process: what is in its hands for a moment is put somewhere meanwhile.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the whole snapshot; of a process it is taken first.
pub fn load(target: &Path) -> Result<Snapshot, Failure> {
    match process(target) {
        Some(pid) => take(pid),
        None => load_file(target),
    }
}

/// The same, and of a process an earlier one too: what is to be told has to be so in both.
pub fn load_twice(target: &Path) -> Result<(Option<Snapshot>, Snapshot), Failure> {
    let Some(pid) = process(target) else { return Ok((None, load_file(target)?)) };
    let first = take(pid)?;
    std::thread::sleep(PAUSE);
    Ok((Some(first), take(pid)?))
}

/// A number is a process, unless a file has it as its name.
fn process(target: &Path) -> Option<u32> {
    if target.exists() { None } else { target.to_str()?.parse().ok() }
}

fn take(pid: u32) -> Result<Snapshot, Failure> {
    take_and_look(pid, |_| Ok(())).map(|(snapshot, ())| snapshot)
}

/// Takes a snapshot of a process; `look` is called as soon as its program goes on.
pub fn take_and_look<T>(
    pid: u32,
    look: impl FnOnce(&SnapshotHeader) -> Result<T, Failure>,
) -> Result<(Snapshot, T), Failure> {
    let mut live = live::snapshot_of(pid)?;
    let looked = look(live.header())?;
    let stop_ns = live.header().stop_ns;
    let snapshot = read(&mut live).map_err(|error| match error {
        SnapshotError::Io { error, .. } => failed(pid, &error),
        error => Failure::new(format!("no snapshot of {pid}: {error}")),
    })?;
    lines::tell(&format!("process {pid} stood still for {}", duration(stop_ns)));
    Ok((snapshot, looked))
}

fn load_file(target: &Path) -> Result<Snapshot, Failure> {
    let snapshot = read(open(target)?);
    snapshot.map_err(|error| Failure::new(format!("the snapshot {}: {error}", named(target))))
}

fn open(target: &Path) -> Result<impl Read + use<>, Failure> {
    let failure = |what: String| Failure::new(format!("cannot read the snapshot {}: {what}", named(target)));
    match File::open(target) {
        Ok(file) if file.metadata().is_ok_and(|about| about.is_dir()) => {
            Err(failure("it is a folder; give a snapshot's file, or a process".into()))
        }
        Ok(file) => Ok(BufReader::with_capacity(1 << 20, file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failure(
            "there is no such file; `heapkeeper snap PID -o FILE` takes a snapshot, and `heapkeeper ps` lists processes".into(),
        )),
        Err(error) => Err(failure(error.to_string())),
    }
}

fn named(target: &Path) -> String {
    clean(&target.to_string_lossy())
}
