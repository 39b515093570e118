//! Processes of a run that outlive CMD: daemons, jobs in the background.
//!
//! They are known by the recording's name in the environment that they were started with (proc(5), environ), which a fork child has from
//! its parent: also those that have not allocated yet, and those that cannot be covered.

use super::environment;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What images of processes are called.
const IMAGE_NAME: &str = "heapkeeper";

/// A process that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// Its number.
    pub pid: u32,
    /// Its name as the kernel has it.
    pub name: String,
}

/// Those that run now: also those of `recorded`, which made an entry and no end yet, as some overwrite their environment.
pub fn running(recording: &Path, recorded: impl Iterator<Item = u32>) -> Vec<Descendant> {
    let wanted = environment::recorder_setting(recording);
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let born = start_ticks(own);
    let mut found: Vec<Descendant> = pids
        .filter(|&pid| pid != own)
        .filter_map(|pid| of_this_run(pid, wanted.as_bytes()))
        // One from an earlier run with a recording of that name writes to what was there before.
        .filter(|process| start_ticks(process.pid) >= born)
        .collect();
    for pid in recorded.filter(|&pid| start_ticks(pid).is_some()) {
        if !found.iter().any(|process| process.pid == pid) {
            found.push(named(pid));
        }
    }
    found
}

/// When a process was started, in clock ticks since the system was (proc(5), stat, field 22). None if it has ended.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state …`, and the name may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    if rest.starts_with(['Z', 'X']) {
        return None;
    }
    rest.split(' ').nth(19)?.parse().ok()
}

/// The environment of a process that has ended, and of another user's, reads as empty.
fn of_this_run(pid: u32, wanted: &[u8]) -> Option<Descendant> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let is_setting = |variable: &[u8]| {
        let settings = variable.strip_prefix(b"HEAPKEEPER=");
        settings.is_some_and(|settings| settings.split(|&byte| byte == b',').any(|part| part == wanted))
    };
    environ.split(|&byte| byte == 0).any(is_setting).then(|| named(pid)).filter(|process| !is_image(process))
}

/// One that a process had made for a snapshot, and that ends with it: it has our name, and is not our command.
fn is_image(process: &Descendant) -> bool {
    let exe = fs::read_link(format!("/proc/{}/exe", process.pid)).unwrap_or_default();
    process.name == IMAGE_NAME && exe.file_name().is_none_or(|name| name != IMAGE_NAME)
}

fn named(pid: u32) -> Descendant {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Descendant { pid, name: String::from_utf8_lossy(name.trim_ascii_end()).into_owned() }
}
