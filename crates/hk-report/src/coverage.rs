//! Which programs of a run did not run on our heap: an exec that no process entry follows.

use crate::model::NotCovered;
use hk_format::{ExecRecord, ExecState, ProcessOrigin, ProcessRecord};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The programs that were started and made no heap, each path once, in the order of their first start.
/// `explain` looks at a file and tells why our library cannot be loaded into it.
pub fn not_covered(
    execs: &[ExecRecord],
    processes: &[(u32, ProcessRecord)],
    explain: &dyn Fn(&Path) -> String,
) -> Vec<NotCovered> {
    let starts = Starts::new(execs);
    let mut found: Vec<NotCovered> = Vec::new();
    for exec in execs {
        let Some((pid, from)) = new_program(exec) else { continue };
        let until = starts.next(pid, from);
        let covered = processes.iter().any(|(_, p)| {
            p.pid == pid
                && p.origin == ProcessOrigin::Program as u32
                && from <= p.start_ns
                && p.start_ns < until
        });
        if covered {
            continue;
        }
        let path = Path::new(OsStr::from_bytes(exec.path_bytes()));
        let shown = path.to_string_lossy().into_owned();
        match found.iter_mut().find(|entry| entry.path == shown) {
            Some(entry) => entry.times += 1,
            None => found.push(NotCovered { path: shown, reason: explain(path), pid, times: 1 }),
        }
    }
    found
}

/// The pid that a new program has, and when it was started; None if there is none.
fn new_program(exec: &ExecRecord) -> Option<(u32, u64)> {
    match ExecState::from_u32(exec.exec_state)? {
        ExecState::Attempted => Some((exec.pid, exec.header.time_ns)),
        ExecState::Spawned => Some((exec.child_pid, exec.header.time_ns)),
        ExecState::Failed => None,
    }
}

/// When each pid started a program: one exec's time ends where the next one's begins.
struct Starts(BTreeMap<u32, Vec<u64>>);

impl Starts {
    fn new(execs: &[ExecRecord]) -> Starts {
        let mut by_pid: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (pid, at) in execs.iter().filter_map(new_program) {
            by_pid.entry(pid).or_default().push(at);
        }
        by_pid.values_mut().for_each(|times| times.sort_unstable());
        Starts(by_pid)
    }

    fn next(&self, pid: u32, after: u64) -> u64 {
        let times = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        times.get(times.partition_point(|&at| at <= after)).copied().unwrap_or(u64::MAX)
    }
}
