//! What a verb tells: collected as text, printed at once.

use crate::output::{self, Output};
use crate::{Failure, VerbResult};
use hk_report::Style;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// The text's lines.
pub struct Page {
    text: String,
    style: Style,
}

impl Page {
    /// An empty one, for standard output.
    pub fn new() -> Page {
        Page { text: String::new(), style: Style::for_output(std::io::stdout().is_terminal()) }
    }

    /// A line.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A head, with an empty line before it.
    pub fn head(&mut self, head: &str, rest: &str) {
        let line = format!("\n{}{rest}", self.style.strong(head));
        self.line(&line);
    }

    /// What matters less.
    pub fn remark(&mut self, remark: &str) {
        let line = self.style.dim(remark);
        self.line(&line);
    }

    /// Lines that are made already.
    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Prints it.
    pub fn print(self, verb: &str) -> Result<(), Failure> {
        output::print(verb, &self.text)
    }
}

/// Writes a verb's answer in the form that is wanted.
pub fn tell<T: Serialize>(
    verb: &str,
    json: Option<&Path>,
    answer: &T,
    text: impl FnOnce(&mut Page),
) -> VerbResult {
    match json {
        Some(out) => write_json(verb, out, answer)?,
        None => {
            let mut page = Page::new();
            text(&mut page);
            page.print(verb)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_json<T: Serialize>(verb: &str, out: &Path, answer: &T) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(answer).expect("plain data has a JSON form") + "\n";
    match out == Path::new("-") {
        true => output::print(verb, &json),
        false => Output::create(out)?.commit(json.as_bytes()),
    }
}
