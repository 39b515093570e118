//! The recording of a run: one sparse file that every process of the run maps.

use crate::output::is_special;
use crate::{Failure, os};
use hk_format::{FileHeader, LAST_SNAPSHOT_ENDING};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zerocopy::IntoBytes;

/// Size cap of a recording in bytes. Sparse: only what is written takes room on the disk.
const FILE_BYTES: u64 = 64 << 20;
/// Processes that one run can tell of; a large build has tens of thousands.
const PROCESS_CAPACITY: u32 = 1 << 15;

/// The file, and whether it is to be kept.
pub struct RecordingFile {
    path: PathBuf,
    keep: bool,
    /// Where the file is that was in its place, until CMD has started.
    former: Option<PathBuf>,
}

impl RecordingFile {
    /// Makes the recording: at `keep_as`, or at a private temporary place.
    pub fn create(keep_as: Option<&Path>) -> Result<RecordingFile, Failure> {
        if let Some(path) = keep_as {
            let path = absolute(path)?;
            let former = replace(&path).map_err(|e| unusable(&path, &e))?;
            return Ok(RecordingFile { path, keep: true, former });
        }
        let name = format!("heapkeeper-{}.hkrec", os::unique_name());
        let mut failed = None;
        for folder in temporary_folders() {
            let path = folder.join(&name);
            match write_new(&path) {
                Ok(()) => return Ok(RecordingFile { path, keep: false, former: None }),
                Err(error) => failed = Some((path, error)),
            }
        }
        let (path, error) = failed.expect("there is a temporary folder at least by name");
        Err(unusable(&path, &error))
    }

    /// Where it is: absolute, as processes of the run may change their folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the user asked for it.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// CMD runs: what was in the recording's place is of the past.
    pub fn begin(&mut self) {
        if let Some(former) = self.former.take() {
            let _ = fs::remove_file(former);
        }
    }

    /// CMD cannot be run: the recording goes, and what was in its place is back.
    pub fn withdraw(&self) {
        match &self.former {
            Some(former) => drop(fs::rename(former, &self.path)),
            None => self.discard(),
        }
    }

    /// Removes it. Processes that still run have it mapped, and are not disturbed.
    pub fn discard(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Where the first process leaves a snapshot at its end, in mode quarantine.
    pub fn last_snapshot(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(LAST_SNAPSHOT_ENDING);
        path.into()
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|e| Failure::new(format!("cannot make the recording {}: {e}", path.display())))
}

/// The user's own folder of this session, which no reboot has to clean; else the common one.
fn temporary_folders() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    // Set to nothing, it would be the present folder.
    let common = std::env::temp_dir();
    let common = if common.as_os_str().is_empty() { PathBuf::from("/tmp") } else { common };
    own.into_iter().chain([common])
}

/// The file is valid at every moment that it has its name. What had that name before is kept under another, which is given.
fn replace(path: &Path) -> io::Result<Option<PathBuf>> {
    if is_special(path) {
        return Err(io::Error::other("it is there and is no regular file"));
    }
    let former = path.exists().then(|| os::beside(path));
    if let Some(former) = &former {
        // Not all file systems have links.
        fs::hard_link(path, former).or_else(|_| fs::rename(path, former))?;
    }
    let temporary = os::beside(path);
    let renamed = write_new(&temporary).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        let _ = fs::remove_file(&temporary);
        if let Some(former) = &former {
            let _ = fs::rename(former, path);
            // Two links of one file are not renamed.
            let _ = fs::remove_file(former);
        }
        return Err(error);
    }
    Ok(former)
}

/// Writes an empty recording to a file that must not exist yet, readable by this user alone.
fn write_new(path: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = FileHeader::new(FILE_BYTES, PROCESS_CAPACITY, now.as_nanos() as u64);
    let written = file.set_len(FILE_BYTES).and_then(|()| file.write_all_at(header.as_bytes(), 0));
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!(
        "cannot make the recording {}: {error}; give a place that can be written with --record FILE",
        path.display()
    ))
}
