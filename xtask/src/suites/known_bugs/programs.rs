//! The programs with known bugs, built plain and with the address sanitizer at two levels of optimisation.

use crate::compile::{self, Job, ending, files, stem};
use crate::context::Context;
use crate::packages;
use crate::process::Run;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One way of building them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// As users build: what is to be found without rebuilding.
    Plain,
    /// With the sanitizer, `-O1`.
    Sanitized,
    /// With the sanitizer, `-O2`.
    SanitizedFast,
}

impl Build {
    const ALL: [Build; 3] = [Build::Plain, Build::Sanitized, Build::SanitizedFast];

    fn folder(self) -> &'static str {
        match self {
            Build::Plain => "plain",
            Build::Sanitized => "asan",
            Build::SanitizedFast => "asan-O2",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Build::Plain => &[],
            // Recommended for the sanitizer's stacks.
            Build::Sanitized => &["-fsanitize=address", "-fno-omit-frame-pointer"],
            Build::SanitizedFast => &["-fsanitize=address", "-fno-omit-frame-pointer", "-O2"],
        }
    }
}

/// The program whose allocator is the crate, built by cargo. It has no sanitized build: its heap is not
/// libc's.
const OF_THE_CRATE: &str = "known_bug_layouts";

/// An error that says how to get gcc's address sanitizer, if it is not there.
pub fn has_sanitizer() -> Result<(), String> {
    packages::require(&["gcc", "g++"])?;
    // gcc repeats the name of a file that it does not have.
    let run = Run::new("gcc", Duration::from_secs(20)).arg("-print-file-name=libasan.so").succeeds()?;
    match Path::new(run.stdout.trim()).is_absolute() {
        true => Ok(()),
        false => Err("gcc has no libasan.so; apt-get install libgcc-$(gcc -dumpversion)-dev".into()),
    }
}

/// Where the built programs lie.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Compiles what is not compiled yet; errors are the compilers' texts.
    pub fn build(context: &Context) -> Result<Programs, String> {
        let programs = Programs { folder: context.scratch.join("known-bugs") };
        let sources = files(&context.root.join("victims/known-bugs"), &["c", "cpp", "rs"])?;
        let errors = compile::all(&programs.jobs(&sources));
        if let Some((source, text)) = errors.first() {
            return Err(format!("{}: {text}", source.display()));
        }
        for source in sources.iter().filter(|source| ending(source) == "rs") {
            programs.sanitized_rust(source)?;
        }
        programs.of_the_crate(context)?;
        Ok(programs)
    }

    /// The program, if there is such a build of it.
    pub fn path(&self, name: &str, build: Build) -> Option<PathBuf> {
        Some(self.folder.join(build.folder()).join(name)).filter(|path| path.is_file())
    }

    /// Whether there can be such a build.
    pub fn can_be(name: &str, build: Build) -> bool {
        name != OF_THE_CRATE || build == Build::Plain
    }

    fn of_the_crate(&self, context: &Context) -> Result<(), String> {
        Run::new("cargo", context.time_left(Duration::from_secs(300)))
            .args(["build", "--package", "heapkeeper", "--example", OF_THE_CRATE])
            .folder(&context.root)
            .succeeds()?;
        let (built, place) = (
            context.target.join("debug/examples").join(OF_THE_CRATE),
            self.folder.join(Build::Plain.folder()).join(OF_THE_CRATE),
        );
        std::fs::copy(&built, place).map(drop).map_err(|e| format!("{}: {e}", built.display()))
    }

    fn jobs(&self, sources: &[PathBuf]) -> Vec<Job> {
        let sanitizer = has_sanitizer().is_ok();
        let mut jobs = Vec::new();
        for source in sources {
            for build in Build::ALL {
                let is_rust = ending(source) == "rs";
                if build != Build::Plain && (is_rust || !sanitizer) {
                    continue;
                }
                // Calls of the C library stay calls: they are among what is tested.
                let mut flags = if is_rust { vec![] } else { vec!["-fno-builtin".to_string()] };
                flags.extend(build.flags().iter().map(|flag| flag.to_string()));
                let output = self.folder.join(build.folder()).join(stem(source));
                jobs.push(Job { source: source.clone(), output, flags });
            }
        }
        jobs
    }

    /// Only nightly's rustc has the sanitizer; without it there is no such build.
    fn sanitized_rust(&self, source: &Path) -> Result<(), String> {
        let rustc = |limit| Run::new("rustc", Duration::from_secs(limit)).arg("+nightly");
        if rustc(20).arg("--version").succeeds().is_err() {
            return Ok(());
        }
        for (build, level) in [(Build::Sanitized, "1"), (Build::SanitizedFast, "2")] {
            let output = self.folder.join(build.folder()).join(stem(source));
            rustc(120)
                .args(["--edition", "2024", "-g", "-Zsanitizer=address", "-C"])
                .arg(format!("opt-level={level}"))
                .arg(source)
                .arg("-o")
                .arg(&output)
                .succeeds()?;
        }
        Ok(())
    }
}
