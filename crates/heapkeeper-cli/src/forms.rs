//! The report's other forms: which were asked for, and where they go.

use crate::Failure;
use crate::output::Output;
use crate::renderers::{to_github, to_html, to_junit, to_sarif};
use hk_report::{Report, to_json};
use std::io::Write;
use std::path::Path;

/// From a report to a text.
type Renderer = fn(&Report) -> String;

/// The files to be written; that they can be is found out before the program runs.
#[derive(Default)]
pub struct Forms {
    files: Vec<(Renderer, Output)>,
    github: bool,
}

/// Which forms are wanted.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'a> {
    pub json: Option<&'a Path>,
    pub sarif: Option<&'a Path>,
    pub junit: Option<&'a Path>,
    pub html: Option<&'a Path>,
    pub github: bool,
}

impl Forms {
    /// Opens the files.
    pub fn open(wanted: Wanted<'_>) -> Result<Forms, Failure> {
        let files: [(Option<&Path>, Renderer); 4] = [
            (wanted.json, to_json),
            (wanted.sarif, to_sarif),
            (wanted.junit, to_junit),
            (wanted.html, to_html),
        ];
        let given = files.into_iter().filter_map(|(path, renderer)| Some((path?, renderer)));
        let files = given.map(|(path, renderer)| Ok((renderer, Output::create(path)?)));
        Ok(Forms { files: files.collect::<Result<_, Failure>>()?, github: wanted.github })
    }

    /// Writes them all. Annotations have only what is to be looked at: they cannot say that something is known.
    pub fn write(
        self,
        report: &Report,
        is_told: impl Fn(&hk_report::Finding) -> bool,
    ) -> Result<(), Failure> {
        for (renderer, output) in self.files {
            output.commit(renderer(report).as_bytes())?;
        }
        if self.github {
            let mut told = report.clone();
            told.findings.retain(is_told);
            // Standard output is the program's; GitHub reads both.
            let _ = std::io::stderr().write_all(to_github(&told).as_bytes());
        }
        Ok(())
    }
}
