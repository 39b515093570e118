//! Where a snapshot comes from: the one place that knows what FILE|PID on the command line can be.

use crate::Failure;
use hk_graph::{Snapshot, read};
use hk_report::clean;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// Reads the whole snapshot.
pub fn load(target: &Path) -> Result<Snapshot, Failure> {
    let snapshot = read(snapshot_of(target)?);
    snapshot.map_err(|error| Failure::new(format!("the snapshot {}: {error}", named(target))))
}

/// The bytes of the snapshot that is meant.
fn snapshot_of(target: &Path) -> Result<Box<dyn Read>, Failure> {
    let failure = |what: String| Failure::new(format!("cannot read the snapshot {}: {what}", named(target)));
    match File::open(target) {
        Ok(file) if file.metadata().is_ok_and(|about| about.is_dir()) => {
            Err(failure("it is a folder; give a snapshot's file".into()))
        }
        Ok(file) => Ok(Box::new(BufReader::with_capacity(1 << 20, file))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failure(
            "there is no such file; `heapkeeper snap PID -o FILE` takes a snapshot of a process".into(),
        )),
        Err(error) => Err(failure(error.to_string())),
    }
}

fn named(target: &Path) -> String {
    clean(&target.to_string_lossy())
}
