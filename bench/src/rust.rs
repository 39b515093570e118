//! The second table: Rust programs, built once for each global allocator.
//!
//! A column is then not a library to preload but a folder of its own on PATH, in which the same program lies, built with
//! another `#[global_allocator]`: `bench/rust`, with one feature for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::allocators::{Allocator, TWIN};
use crate::args::Args;
use crate::cache::{Cache, run_quietly};
use crate::launch::Launcher;
use crate::workloads::{Job, RUST_WORKLOADS, Workload};
use crate::{measure, report};

const PROGRAM: &str = "hk-bench-rust";
/// What chooses each allocator, and where its type comes from. The base first.
const FEATURES: &[(&str, &str)] = &[
    ("mimalloc", "mimalloc"),
    ("system", "std"),
    ("jemalloc", "tikv_jemallocator"),
    ("tcmalloc", "tcmalloc_better"),
    ("snmalloc", "snmalloc_rs"),
    ("rpmalloc", "rpmalloc"),
    ("heapkeeper", "heapkeeper"),
];

/// Rows and columns, and why any column is missing.
pub struct Programs {
    /// The workloads and how each is started.
    pub ready: Vec<(&'static Workload, Job)>,
    /// The global allocators: the base, its twin, the others.
    pub allocators: Vec<Allocator>,
    /// Those that could not be built.
    pub missing: Vec<String>,
}

/// Builds the programs; None if their source is not there, or no row of theirs is wanted.
pub fn prepare(args: &Args, cache: &Cache) -> Result<Option<Programs>, String> {
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/rust"));
    let wanted: Vec<&Workload> = RUST_WORKLOADS.iter().filter(|row| row.matches(&args.only)).collect();
    if wanted.is_empty() || args.quick || !source.is_dir() {
        return Ok(None);
    }
    let job = |row: &Workload| {
        let argument = row.name.trim_start_matches("rust-");
        Job { argv: vec![PROGRAM.into(), argument.into()], ..Job::default() }
    };
    let ready = wanted.into_iter().map(|row| (row, job(row))).collect();
    let (mut allocators, mut missing) = (Vec::new(), Vec::new());
    for &(feature, origin) in
        FEATURES.iter().filter(|(name, _)| *name == "system" || args.wants_allocator(name))
    {
        eprintln!("building {PROGRAM} on {feature}");
        let built = build(&source, feature, cache);
        match built.and_then(|folder| prove(&folder, origin).map(|()| folder)) {
            Ok(folder) => allocators.push(column(feature, &folder)),
            Err(why) if feature == FEATURES[0].0 => return Err(format!("{PROGRAM} on {feature}: {why}")),
            Err(why) => missing.push(format!("{PROGRAM} on {feature}: {why}")),
        }
    }
    let twin = cache.path("rust/twin");
    copy(&cache.path(format!("rust/{}/release/{PROGRAM}", FEATURES[0].0)), &twin)?;
    allocators.insert(1, column(TWIN, &twin));
    Ok(Some(Programs { ready, allocators, missing }))
}

/// The tables of the second kind, and the runs for the file.
pub fn measure(programs: Option<&Programs>, launcher: &Launcher, args: &Args) -> (String, String) {
    let Some(Programs { ready, allocators, .. }) = programs else { return Default::default() };
    let rows = measure::measure(ready.clone(), allocators, launcher, args);
    let tables = report::tables(&rows, allocators, args.statistic);
    let failures = report::failures(&rows, allocators);
    let text = format!("\nRust programs, by their global allocator\n\n{tables}{failures}");
    (text, report::runs_csv(&rows, allocators))
}

/// The program itself says what it allocates with.
fn prove(folder: &Path, origin: &str) -> Result<(), String> {
    let answer = run_quietly(Command::new(folder.join(PROGRAM)).arg("allocator"))?;
    let name = String::from_utf8_lossy(&answer).trim().to_owned();
    match name.split("::").next() {
        Some(first) if first == origin || (origin == "std" && first == "alloc") => Ok(()),
        _ => Err(format!("it is on {name}, which is not of {origin}")),
    }
}

/// In a target folder of its own for each, so that none is built again.
fn build(source: &Path, feature: &str, cache: &Cache) -> Result<PathBuf, String> {
    let target = cache.path(format!("rust/{feature}"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--quiet", "--features", feature]);
    command.arg("--manifest-path").arg(source.join("Cargo.toml")).arg("--target-dir").arg(&target);
    // What the bench itself was started with is not for these.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR").env_remove("LD_PRELOAD");
    run_quietly(&mut command)?;
    Ok(target.join("release"))
}

fn column(name: &str, folder: &Path) -> Allocator {
    let mut column = Allocator::in_folder(name, folder);
    column.ours = name == "heapkeeper";
    column
}

fn copy(program: &Path, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(program, folder.join(PROGRAM)))
        .map(drop)
        .map_err(|e| format!("cannot copy {} to {}: {e}", program.display(), folder.display()))
}
