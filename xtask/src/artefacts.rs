//! The built command and the library inside it: what all later suites test.

use crate::context::Context;
use crate::process::Run;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is under test.
#[derive(Clone, Debug)]
pub struct Artefacts {
    /// The `heapkeeper` command.
    pub command: PathBuf,
    /// The preload library, as the command unpacked it.
    pub library: PathBuf,
    /// Where the command unpacks it: a folder of ours, so that the user's is left alone.
    pub cache: PathBuf,
}

impl Artefacts {
    /// Builds the command (release) unless one was given, and has it unpack the library.
    pub fn build(context: &Context) -> Result<Artefacts, String> {
        let command = match &context.given_command {
            Some(path) => path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?,
            None => build_command(context)?,
        };
        let cache = context.scratch.join("cache");
        let limit = Duration::from_secs(30);
        let lib = Run::new(&command, limit).arg("lib").env("XDG_CACHE_HOME", &cache).succeeds()?;
        let library = PathBuf::from(lib.stdout.trim());
        if !library.is_absolute() || !library.is_file() {
            return Err(format!("`heapkeeper lib` printed '{}', which is no file", lib.stdout.trim()));
        }
        Ok(Artefacts { command, library, cache })
    }

    /// `heapkeeper run OPTIONS -- PROGRAM`, to which arguments can be added.
    pub fn run(&self, options: &[&str], program: &Path, limit: Duration) -> Run {
        self.verb("run", options, program, limit)
    }

    /// The same of another verb.
    pub fn verb(&self, verb: &str, options: &[&str], program: &Path, limit: Duration) -> Run {
        Run::new(&self.command, limit)
            .arg(verb)
            .args(options)
            .arg("--")
            .arg(program)
            .env("XDG_CACHE_HOME", &self.cache)
    }

    /// The program under a bare LD_PRELOAD with these settings.
    pub fn preloaded(&self, settings: &str, program: &Path, limit: Duration) -> Run {
        Run::new(program, limit).env("LD_PRELOAD", &self.library).env("HEAPKEEPER", settings)
    }
}

fn build_command(context: &Context) -> Result<PathBuf, String> {
    Run::new("cargo", context.time_left(Duration::from_secs(600)))
        .args(["build", "--release", "--package", "heapkeeper-cli"])
        .folder(&context.root)
        .succeeds()?;
    Ok(context.target.join("release/heapkeeper"))
}
