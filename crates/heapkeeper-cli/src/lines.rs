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
        let opened = if is_special(path) { open_special(path) } else { File::create(path) };
        let file = opened.map_err(|error| unwritable(path, &error))?;
        let style = Style::for_output(file.is_terminal());
        Ok(Sink { file: Some(Mutex::new(Log { file, path: path.into(), failed: None })), style })
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
        let written = log.file.write_all(text.as_bytes());
        log.failed = log.failed.take().or(written.err());
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the log {}: {error}", path.display()))
}
