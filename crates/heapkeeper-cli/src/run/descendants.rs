//! Processes of a run that outlive CMD: daemons, jobs in the background.
//!
//! They are known by the recording's name in the environment that they were started with (proc(5), environ), which a fork child has from
//! its parent: also those that have not allocated yet, and those that cannot be covered.

use super::environment;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descendant {
    /// Its number.
    pub pid: u32,
    /// Its name as the kernel has it.
    pub name: String,
}

/// Those that run now.
pub fn running(recording: &Path) -> Vec<Descendant> {
    let wanted = environment::recorder_setting(recording);
    let own = std::process::id();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != own).filter_map(|pid| of_this_run(pid, wanted.as_bytes())).collect()
}

/// The environment of a process that has ended, and of another user's, reads as empty.
fn of_this_run(pid: u32, wanted: &[u8]) -> Option<Descendant> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let is_setting = |variable: &[u8]| {
        variable.starts_with(b"HEAPKEEPER=") && variable.windows(wanted.len()).any(|part| part == wanted)
    };
    if !environ.split(|&byte| byte == 0).any(is_setting) {
        return None;
    }
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Descendant { pid, name: String::from_utf8_lossy(name.trim_ascii_end()).into_owned() })
}
