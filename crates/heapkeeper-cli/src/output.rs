//! A file that a user asked for: written beside its place and renamed, so that nobody finds a half of it.

use crate::{Failure, os};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file to be written later; that it can be written is found out at once.
pub struct Output {
    path: PathBuf,
    file: File,
    /// None where the place is a device or a pipe, which must not be replaced.
    temporary: Option<PathBuf>,
}

impl Output {
    /// Opens the place beside `path`, or `path` itself if it is no regular file.
    pub fn create(path: &Path) -> Result<Output, Failure> {
        Self::create_with(path, 0o666)
    }

    /// The same for what nobody else may read.
    pub fn create_private(path: &Path) -> Result<Output, Failure> {
        Self::create_with(path, 0o600)
    }

    fn create_with(path: &Path, mode: u32) -> Result<Output, Failure> {
        let unwritable = |e| Failure::new(format!("cannot write {}: {e}", path.display()));
        if is_special(path) {
            let file = open_special(path).map_err(unwritable)?;
            return Ok(Output { path: path.into(), file, temporary: None });
        }
        let path = std::path::absolute(path).map_err(unwritable)?;
        let temporary = os::beside(&path);
        let file =
            File::options().write(true).create_new(true).mode(mode).open(&temporary).map_err(unwritable)?;
        Ok(Output { path, file, temporary: Some(temporary) })
    }

    /// Writes the content and puts it in its place.
    pub fn commit(mut self, content: &[u8]) -> Result<(), Failure> {
        self.write(content)?;
        self.put_in_place()
    }

    /// Writes a part of the content.
    pub fn write(&mut self, part: &[u8]) -> Result<(), Failure> {
        self.file.write_all(part).map_err(|error| self.unwritable(&error))
    }

    /// All was written: puts it in its place.
    pub fn put_in_place(mut self) -> Result<(), Failure> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path).map_err(|error| self.unwritable(&error))?;
        }
        self.temporary = None;
        Ok(())
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write {}: {error}", self.path.display()))
    }
}

/// Writes what a verb has to say to standard output.
pub fn print(verb: &str, text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads, as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|error| Failure::new(format!("{verb}: cannot write to standard output: {error}")))
        }
    }
}

/// Whether a place is there already and is a device, a pipe or a folder: nothing that may be replaced.
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// How long the reader of a FIFO may take to come.
const READER_PATIENCE: Duration = Duration::from_secs(2);

/// Opens a device or a pipe for writing. A FIFO must have a reader soon: to wait longer would be to hang.
pub fn open_special(path: &Path) -> io::Result<File> {
    let start = Instant::now();
    loop {
        match File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => {
                os::make_blocking(&file)?;
                return Ok(file);
            }
            Err(error) if error.raw_os_error() != Some(libc::ENXIO) => return Err(error),
            Err(_) if start.elapsed() > READER_PATIENCE => {
                return Err(io::Error::other("nobody has this pipe open for reading"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// An error if two of these are the same file: one would destroy the other.
pub fn refuse_same(files: &[(&str, &Path)]) -> Result<(), Failure> {
    let identity = |path: &Path| fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| (m.dev(), m.ino()));
    for (at, (option, path)) in files.iter().enumerate() {
        for (other_option, other) in &files[..at] {
            let same_name = std::path::absolute(path).ok() == std::path::absolute(other).ok();
            let same_file = identity(path).is_some() && identity(path) == identity(other);
            if same_name && !is_special(path) || same_file {
                let path = path.display();
                return Err(Failure::new(format!(
                    "{other_option} and {option} are the same file {path}: give each its own"
                )));
            }
        }
    }
    Ok(())
}

/// An error if one of these is the program that is to be run.
pub fn refuse_program(files: &[(&str, &Path)], program: &Path) -> Result<(), Failure> {
    for (option, path) in files {
        refuse_same(&[("CMD", program), (option, path)])?;
    }
    Ok(())
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}
