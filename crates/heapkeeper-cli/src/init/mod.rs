//! `heapkeeper init TARGET`: a snippet that puts our heap under a service, an image, or a suite of tests for good.
//!
//! The snippets are files beside this one, named as what they become. What they need of this machine is filled
//! in by [`snippet`]. Files that are shared with others (a repository's) name the command and no path; those
//! for a service and an image name a place for the library that is the same everywhere, as a user's cache
//! folder is out of sight for a service with a user of its own.

mod snippet;

use crate::words::shell_quoted;
use crate::{Failure, VerbResult, library};
use snippet::Filler;
use std::io::Write;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
The snippet goes to standard output. Its first lines say where it goes, what it does and how to undo it.";

/// Options of `heapkeeper init`.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// What is to run on our heap
    #[arg(value_enum, value_name = "TARGET")]
    target: Target,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Target {
    /// A drop-in file for a service
    Systemd,
    /// Lines of a Dockerfile
    Docker,
    /// Cargo's tests, by .cargo/config.toml
    Cargo,
    /// CTest's tests, by a file for include()
    Cmake,
    /// `pytest --heapkeeper`, by conftest.py
    Pytest,
    /// A workflow of GitHub Actions
    Github,
}

impl Target {
    fn template(self) -> &'static str {
        match self {
            Target::Systemd => include_str!("heapkeeper.conf"),
            Target::Docker => include_str!("Dockerfile"),
            Target::Cargo => include_str!("config.toml"),
            Target::Cmake => include_str!("heapkeeper.cmake"),
            Target::Pytest => include_str!("conftest.py"),
            Target::Github => include_str!("heapkeeper.yml"),
        }
    }

    /// What the template needs. Only where the library's file is wanted is it unpacked.
    fn filler(self) -> Result<Filler, Failure> {
        match self {
            Target::Systemd | Target::Docker => {
                let path = library::unpack()?;
                let (Some(whole), Some(name)) =
                    (path.to_str(), path.file_name().and_then(|name| name.to_str()))
                else {
                    return Err(Failure::new(format!(
                        "init: the library's path {} is not UTF-8, which the snippet has to be: set \
                         XDG_CACHE_HOME to another folder",
                        path.display()
                    )));
                };
                Ok(vec![("LIBRARY_QUOTED", shell_quoted(whole)), ("LIBRARY_NAME", name.into())])
            }
            Target::Github => Ok(vec![("REPOSITORY", env!("CARGO_PKG_REPOSITORY").into())]),
            Target::Cargo | Target::Cmake | Target::Pytest => Ok(Vec::new()),
        }
    }
}

/// Prints the snippet.
pub fn run(args: &Args) -> VerbResult {
    let text = snippet::fill(args.target.template(), &args.target.filler()?);
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|e| Failure::new(format!("init: cannot write to standard output: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
