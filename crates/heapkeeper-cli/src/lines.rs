//! heapkeeper's own lines: each begins with `heapkeeper:`, each goes out in one write.

use crate::Failure;
use hk_report::{LINE_PREFIX, Style};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Mutex;

/// Prints lines on standard error, each with the prefix.
pub fn tell(message: &str) {
    Sink::standard_error().line(message);
}

/// Where lines go. That they cannot be written is no reason to disturb the program that is run.
pub struct Sink {
    /// None: standard error.
    file: Option<Mutex<File>>,
    style: Style,
}

impl Sink {
    /// Our own standard error, coloured where that is welcome.
    pub fn standard_error() -> Sink {
        Sink { file: None, style: Style::for_output(std::io::stderr().is_terminal()) }
    }

    /// A file, from its beginning on.
    pub fn file(path: &Path) -> Result<Sink, Failure> {
        let file = File::create(path)
            .map_err(|e| Failure::new(format!("cannot write the log {}: {e}", path.display())))?;
        let style = Style::for_output(file.is_terminal());
        Ok(Sink { file: Some(Mutex::new(file)), style })
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
        let _ = match &self.file {
            Some(file) => file.lock().map(|mut file| file.write_all(text.as_bytes())).unwrap_or(Ok(())),
            None => std::io::stderr().write_all(text.as_bytes()),
        };
    }
}
