//! Which processes run on our heap and can be asked: those of the same user that have a recording of this version mapped, which is that
//! user's too. Root also asks those that it has started and that are another user's by now, which the recording's owner tells.

use crate::{Failure, os};
use hk_format::{ProcessOrigin, ProcessRecord, ProcessState};
use hk_report::{Recording, RecordingError, clean};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const ROOT: u32 = 0;

/// A process that can be asked.
pub struct Reached {
    /// As it is known here; inside a container it may have another.
    pub pid: u32,
    /// Its entry in the recording's table, and what that says.
    pub index: u32,
    pub record: ProcessRecord,
    /// Entries of the table.
    pub capacity: u32,
    /// The recording, open for reading and writing.
    pub file: File,
    /// Its path, as the process sees it.
    pub path: PathBuf,
}

/// Why a process can't be asked.
#[derive(Debug)]
pub enum Unreachable {
    NoProcess,
    OtherUser,
    /// It has made itself unreadable.
    Hidden,
    /// It does not run on our heap.
    NotOurs,
    /// A 32-bit program, which we do not cover.
    Narrow,
    /// It runs on our heap without a recording.
    NoRecording,
    /// The recording is of another version, or damaged, or can't be opened.
    Recording(String),
}

impl Unreachable {
    /// One line about it.
    fn tell(&self, pid: u32) -> String {
        match self {
            Self::NoProcess => format!("there is no process {pid}"),
            Self::OtherUser => format!("process {pid} is another user's: only that user can ask it"),
            Self::Hidden => format!(
                "process {pid} cannot be looked at: it has privileges, or has made itself unreadable (PR_SET_DUMPABLE)"
            ),
            Self::NotOurs => format!("process {pid} does not run on our heap: start it by heapkeeper run"),
            Self::Narrow => format!("process {pid} is a 32-bit program, which heapkeeper cannot cover"),
            Self::NoRecording => format!(
                "process {pid} runs on our heap without a recording, through which it could be asked: start it by \
                 heapkeeper run, or with HEAPKEEPER=recorder=FILE"
            ),
            Self::Recording(why) => format!("process {pid} cannot be asked: {why}"),
        }
    }
}

/// A process by its id.
pub fn reach(pid: u32) -> Result<Reached, Failure> {
    look_for(pid).map_err(|why| Failure::new(why.tell(pid)))
}

/// All that can be asked, and how many processes are another user's.
pub fn reach_all() -> io::Result<(Vec<Reached>, usize)> {
    let (mut reached, mut others) = (Vec::new(), 0);
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match look_for(pid) {
            Ok(process) => reached.push(process),
            Err(Unreachable::OtherUser) => others += 1,
            Err(_) => {}
        }
    }
    reached.sort_by_key(|process| process.pid);
    Ok((reached, others))
}

/// Whether a process is there and has not ended.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.iter().rposition(|&byte| byte == b')').and_then(|end| stat.get(end + 2));
    state.is_some_and(|state| !b"ZXx".contains(state))
}

fn look_for(pid: u32) -> Result<Reached, Unreachable> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| Unreachable::NoProcess)?;
    let user = os::effective_user();
    let is_own = is_of_user(&status, user);
    if !is_own && user != ROOT {
        return Err(Unreachable::OtherUser);
    }
    let maps = fs::read(format!("/proc/{pid}/maps")).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Unreachable::Hidden,
        _ => Unreachable::NoProcess,
    })?;
    let own_pid = innermost_pid(&status).unwrap_or(pid);
    let mut failure = None;
    for mapped in shared_files(&maps) {
        for file in open_mapped(pid, &mapped) {
            match look_into(file, pid, own_pid, mapped.path) {
                Ok(Some(reached)) => return Ok(reached),
                Ok(None) => {}
                Err(why) => failure = Some(why),
            }
        }
    }
    Err(failure.unwrap_or_else(|| if is_own { why_not(pid, &maps) } else { Unreachable::OtherUser }))
}

/// Of a process that has no recording mapped.
fn why_not(pid: u32, maps: &[u8]) -> Unreachable {
    /// Where an ELF file says for how many bits it is, and the number for 32.
    const CLASS_AT: usize = 4;
    const NARROW: u8 = 1;
    let mut head = [0; CLASS_AT + 1];
    let exe = File::open(format!("/proc/{pid}/exe"));
    let read = exe.and_then(|mut exe| io::Read::read_exact(&mut exe, &mut head));
    let has_library = maps.split(|&byte| byte == b'\n').filter_map(|line| line.rsplit(|&b| b == b'/').next());
    if has_library.into_iter().any(|name| name.starts_with(b"libheapkeeper-")) {
        Unreachable::NoRecording
    } else if read.is_ok() && head[CLASS_AT] == NARROW {
        Unreachable::Narrow
    } else {
        Unreachable::NotOurs
    }
}

/// Whether all of a process's user ids are that one (proc(5), status).
fn is_of_user(status: &str, user: u32) -> bool {
    let Some(ids) = field(status, "Uid:") else { return false };
    ids.split_whitespace().all(|id| id.parse() == Ok(user))
}

/// The process's id as it sees itself.
fn innermost_pid(status: &str) -> Option<u32> {
    field(status, "NSpid:")?.split_whitespace().last()?.parse().ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

/// A file that is mapped shared, writable and from its beginning.
struct SharedFile<'a> {
    /// The addresses, as the kernel writes them.
    range: &'a str,
    path: &'a Path,
}

/// Those of a process (proc(5), maps).
fn shared_files(maps: &[u8]) -> impl Iterator<Item = SharedFile<'_>> {
    maps.split(|&byte| byte == b'\n').filter_map(|line| {
        // The path may have blanks, and stands behind some of them.
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let range = std::str::from_utf8(fields.next()?).ok()?;
        let is_shared = fields.next()? == b"rw-s" && fields.next()?.iter().all(|&digit| digit == b'0');
        let path = fields.nth(2)?.trim_ascii_start();
        let is_file = path.starts_with(b"/") && !path.starts_with(b"/dev/");
        (is_shared && is_file).then(|| SharedFile { range, path: Path::new(OsStr::from_bytes(path)) })
    })
}

/// The process with its recording, if the file is one that the process has an entry in. It must be this user's.
fn look_into(file: File, pid: u32, own_pid: u32, path: &Path) -> Result<Option<Reached>, Unreachable> {
    let is_ours = file.metadata().is_ok_and(|found| found.is_file() && found.uid() == os::effective_user());
    if !is_ours {
        return Ok(None);
    }
    let other = |error: RecordingError| Unreachable::Recording(error.to_string());
    let copy = file.try_clone().map_err(|error| Unreachable::Recording(error.to_string()))?;
    let recording = match Recording::from_file(copy, path) {
        Ok(recording) => recording,
        Err(RecordingError::NotARecording(_) | RecordingError::Io(..)) => return Ok(None),
        Err(error) => return Err(other(error)),
    };
    let capacity = recording.header().map_err(other)?.process_capacity;
    let entries = recording.processes().map_err(other)?;
    let present = entries
        .into_iter()
        .filter(|(_, record)| record.pid == own_pid && record.state == ProcessState::Running as u32);
    // A Rust program's own heap, beside the preloaded one, has what the program allocates. Of an id that came again the last one is it.
    let is_second = |record: &ProcessRecord| record.origin == ProcessOrigin::SecondHeap as u32;
    let chosen = present.max_by_key(|(_, record)| (is_second(record), record.start_ns));
    Ok(chosen.map(|(index, record)| {
        let path = path.to_path_buf();
        Reached { pid, index, record, capacity, file, path }
    }))
}

/// By its path below the process's root; as it is, for one whose root is another folder of ours; one whose name is gone by the mapping itself, which
/// takes privileges. What the file says tells whether it is the one.
fn open_mapped(pid: u32, mapped: &SharedFile<'_>) -> impl Iterator<Item = File> {
    let mut below_root = format!("/proc/{pid}/root").into_bytes();
    below_root.extend_from_slice(mapped.path.as_os_str().as_bytes());
    let below_root = PathBuf::from(OsStr::from_bytes(&below_root).to_owned());
    let by_mapping = PathBuf::from(format!("/proc/{pid}/map_files/{}", mapped.range));
    let named = libc::O_NOFOLLOW;
    let places = [(below_root, named), (mapped.path.to_path_buf(), named), (by_mapping, 0)];
    places.into_iter().filter_map(|(path, flags)| {
        let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
        File::options().read(true).write(true).custom_flags(flags).open(path).ok()
    })
}

impl Reached {
    /// The program's name.
    pub fn name(&self) -> String {
        let path = String::from_utf8_lossy(self.record.name_bytes());
        clean(path.rsplit('/').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_writable_files_are_looked_at() {
        let maps = b"55d0-55d1 rw-s 00000000 00:2a 77   /run/user/0/a b.hkrec\n\
            55d1-55d2 rw-p 00000000 00:2a 77   /lib/x.so\n\
            55d2-55d3 rw-s 00001000 00:2a 77   /tmp/later\n\
            55d3-55d4 rw-s 00000000 00:01 5    /dev/zero (deleted)\n\
            55d4-55d5 rw-p 00000000 00:00 0 \n";
        let found: Vec<_> = shared_files(maps).map(|file| (file.range, file.path)).collect();
        assert_eq!(found, [("55d0-55d1", Path::new("/run/user/0/a b.hkrec"))]);
    }

    #[test]
    fn a_process_is_of_the_user_whose_all_its_ids_are() {
        let status = "Name:\tx\nUid:\t7\t7\t7\t7\nNSpid:\t900\t12\n";
        assert!(is_of_user(status, 7) && !is_of_user(status, 0));
        assert!(!is_of_user("Uid:\t7\t0\t7\t7\n", 7));
        assert_eq!(innermost_pid(status), Some(12));
    }
}
