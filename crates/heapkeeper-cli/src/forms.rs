//! The report's other forms: which were asked for, and where they go.

use crate::Failure;
use crate::output::Output;
use hk_report::{Report, to_github, to_html, to_json, to_junit, to_sarif};
use std::path::Path;

/// From a report, and the folder that source files are named from, to a text.
type Renderer = fn(&Report, &Path) -> String;

/// Which forms are wanted.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'a> {
    pub json: Option<&'a Path>,
    pub sarif: Option<&'a Path>,
    pub junit: Option<&'a Path>,
    pub html: Option<&'a Path>,
    pub github: bool,
}

/// The files to be written; that they can be is found out beforehand.
#[derive(Default)]
pub struct Forms {
    files: Vec<(Renderer, Output)>,
    /// What is to be printed.
    printed: Vec<Renderer>,
}

impl Forms {
    /// Opens the files.
    pub fn open(wanted: Wanted<'_>) -> Result<Forms, Failure> {
        let mut forms = Forms::default();
        for (path, renderer) in wanted.files() {
            forms.files.push((renderer, Output::create(path)?));
        }
        if wanted.github {
            forms.printed.push(to_github);
        }
        Ok(forms)
    }

    /// The same where `-` is standard output.
    pub fn open_printing(wanted: Wanted<'_>) -> Result<Forms, Failure> {
        let mut forms = Forms::default();
        for (path, renderer) in wanted.files() {
            match path == Path::new("-") {
                true => forms.printed.push(renderer),
                false => forms.files.push((renderer, Output::create(path)?)),
            }
        }
        forms.printed.extend(wanted.github.then_some(to_github as Renderer));
        match forms.printed.len() {
            0 | 1 => Ok(forms),
            _ => Err(Failure::new("standard output can have one form of the report: give the others files")),
        }
    }

    /// Writes the files, and gives what is to be printed.
    pub fn write(self, report: &Report) -> Result<String, Failure> {
        // Annotations and code scanning want paths as the repository has them.
        let root = std::env::current_dir().unwrap_or_default();
        for (renderer, output) in self.files {
            output.commit(renderer(report, &root).as_bytes())?;
        }
        Ok(self.printed.iter().map(|renderer| renderer(report, &root)).collect())
    }
}

impl<'a> Wanted<'a> {
    fn files(&self) -> impl Iterator<Item = (&'a Path, Renderer)> + use<'a> {
        let files: [(Option<&Path>, Renderer); 4] = [
            (self.json, |report, _| to_json(report)),
            (self.sarif, to_sarif),
            (self.junit, |report, _| to_junit(report)),
            (self.html, |report, _| to_html(report)),
        ];
        files.into_iter().filter_map(|(path, renderer)| Some((path?, renderer)))
    }
}
