//! Compiles the victims and programs, several at once, and only what is older than its sources.

use crate::process::Run;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// One file to compile.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source file; its ending names the language.
    pub source: PathBuf,
    /// The program or library to make.
    pub output: PathBuf,
    /// Flags beside the language's usual ones.
    pub flags: Vec<String>,
}

const C_FLAGS: &[&str] = &[
    "-g",
    "-O1",
    "-Wall",
    "-Wextra",
    // These warnings name the very bugs.
    "-Wno-free-nonheap-object",
    "-Wno-use-after-free",
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    "-Wno-alloc-size-larger-than",
    "-Wno-deprecated-declarations",
    "-pthread",
    // So that a library beside the program is found, also by dlopen.
    "-Wl,-rpath,$ORIGIN",
];

/// Compiles all; the errors are those of the compilers, one text per job that failed.
pub fn all(jobs: &[Job]) -> Vec<(PathBuf, String)> {
    let next = Mutex::new(0..jobs.len());
    let errors = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let Some(index) = next.lock().expect("no worker panics").next() else { return };
            let job = &jobs[index];
            if let Err(text) = one(job) {
                errors.lock().expect("no worker panics").push((job.source.clone(), text));
            }
        }
    };
    let count = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(worker);
        }
    });
    errors.into_inner().expect("no worker panics")
}

fn one(job: &Job) -> Result<(), String> {
    if is_fresh(job) {
        return Ok(());
    }
    if let Some(folder) = job.output.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let (compiler, language): (&str, &[&str]) = match ending(&job.source) {
        "c" => ("gcc", &["-std=gnu11"]),
        "cpp" => ("g++", &["-std=c++17", "-Wno-mismatched-new-delete"]),
        "rs" => ("rustc", &["--edition", "2024", "-g", "-C", "opt-level=2"]),
        other => return Err(format!("no compiler for .{other}")),
    };
    let run = Run::new(compiler, Duration::from_secs(120)).args(language);
    let run = if compiler == "rustc" { run } else { run.args(C_FLAGS) };
    // Libraries among the flags come after the source that needs them.
    run.arg(&job.source).args(&job.flags).arg("-o").arg(&job.output).succeeds().map(drop)
}

/// Whether the output is newer than its source, all headers near it, and the rules in this program.
fn is_fresh(job: &Job) -> bool {
    let Some(made) = modified(&job.output) else { return false };
    let folder = job.source.parent().unwrap_or(Path::new("."));
    let headers = [folder.to_path_buf(), folder.join("../include")];
    let near = headers.iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path());
    near.filter(|path| matches!(ending(path), "h" | "rs"))
        .chain([job.source.clone()])
        .chain(std::env::current_exe().ok())
        .all(|path| modified(&path).is_some_and(|time| time < made))
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// A path's ending without the dot.
pub fn ending(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}

/// A path's file name without its ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// All files of a folder with one of these endings, by name.
pub fn files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| endings.contains(&ending(path))).collect();
    paths.sort();
    Ok(paths)
}
