//! heapkeeper's own lines: each begins with `heapkeeper:`, each goes out in one write.

use crate::Failure;
use crate::output::{is_special, open_special};
use hk_report::{LINE_PREFIX, Style};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Prints lines on standard error, each with the prefix.
pub fn tell(message: &str) {
    Sink::standard_error().line(message);
}

struct Log {
    file: File,
    path: PathBuf,
    failed: Option<io::Error>,
    /// Lines from before the program was started: if it cannot be, the file stays as it was.
    held_back: Option<String>,
    /// The file was not there before.
    is_new: bool,
}

/// Where lines go. That they cannot be written is no reason to disturb the program that is run; [`Sink::check`] tells in the end.
pub struct Sink {
    /// None: standard error.
    file: Option<Mutex<Log>>,
    style: Style,
}

impl Sink {
    /// Our own standard error, coloured where that is welcome.
    pub fn standard_error() -> Sink {
        Sink { file: None, style: Style::for_output(std::io::stderr().is_terminal()) }
    }

    /// A file, from its beginning on.
    pub fn file(path: &Path) -> Result<Sink, Failure> {
        let (special, is_new) = (is_special(path), path.symlink_metadata().is_err());
        let opened = if special {
            open_special(path)
        } else {
            File::options().write(true).create(true).truncate(false).open(path)
        };
        let file = opened.map_err(|error| unwritable(path, &error))?;
        let style = Style::for_output(file.is_terminal());
        let held_back = (!special).then(String::new);
        let log = Log { file, path: path.into(), failed: None, held_back, is_new };
        Ok(Sink { file: Some(Mutex::new(log)), style })
    }

    /// The program has been started: the log begins, and what it held before is of the past.
    pub fn begin(&self) {
        let Some(mut log) = self.file.as_ref().and_then(|log| log.lock().ok()) else { return };
        if let Some(lines) = log.held_back.take() {
            let written = log.file.set_len(0).and_then(|()| log.file.write_all(lines.as_bytes()));
            log.failed = log.failed.take().or(written.err());
        }
    }

    /// An error if some of it could not be written.
    pub fn check(&self) -> Result<(), Failure> {
        let log = self.file.as_ref().and_then(|log| log.lock().ok());
        match log.as_ref().and_then(|log| Some((log, log.failed.as_ref()?))) {
            Some((log, error)) => Err(unwritable(&log.path, error)),
            None => Ok(()),
        }
    }

    /// How text for it is decorated.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Writes a message, with the prefix before each of its lines.
    pub fn line(&self, message: &str) {
        let lines = message.lines().map(|line| format!("{LINE_PREFIX} {line}\n"));
        self.text(&lines.collect::<String>());
    }

    /// Writes text whose lines have the prefix already.
    pub fn text(&self, text: &str) {
        let Some(log) = &self.file else {
            let _ = std::io::stderr().write_all(text.as_bytes());
            return;
        };
        let Ok(mut log) = log.lock() else { return };
        if let Some(lines) = &mut log.held_back {
            lines.push_str(text);
            return;
        }
        let written = log.file.write_all(text.as_bytes());
        log.failed = log.failed.take().or(written.err());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.is_new && self.held_back.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the log {}: {error}", path.display()))
}
