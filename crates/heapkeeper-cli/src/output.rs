//! A file that a user asked for: written beside its place and renamed, so that nobody finds a half of it.

use crate::{Failure, os};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

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
        let unwritable = |e| Failure::new(format!("cannot write {}: {e}", path.display()));
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let file = File::options().write(true).open(path).map_err(unwritable)?;
            return Ok(Output { path: path.into(), file, temporary: None });
        }
        let path = std::path::absolute(path).map_err(unwritable)?;
        let temporary = os::beside(&path);
        let file = File::options().write(true).create_new(true).open(&temporary).map_err(unwritable)?;
        Ok(Output { path, file, temporary: Some(temporary) })
    }

    /// Writes the content and puts it in its place.
    pub fn commit(mut self, content: &[u8]) -> Result<(), Failure> {
        let mut written = self.file.write_all(content);
        if let (Ok(()), Some(temporary)) = (&written, &self.temporary) {
            written = fs::rename(temporary, &self.path);
        }
        if written.is_ok() {
            self.temporary = None;
        }
        written.map_err(|e| Failure::new(format!("cannot write {}: {e}", self.path.display())))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}
